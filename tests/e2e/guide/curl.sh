# Crear sesión
SESSION_RESPONSE=$(curl -s -X POST https://koomtai.com/api/sessions \
  -H "Content-Type: application/json" \
  -d '{
    "gpt_id": "devops-expert",
    "usuario_id": "test-user-123",
    "timestamp_inicio": "'$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)'"
  }')

SESSION_ID=$(echo $SESSION_RESPONSE | jq -r '.id')

# Agregar evento
curl -X POST https://koomtai.com/api/events \
  -H "Content-Type: application/json" \
  -d '{
    "sesion_id": "'$SESSION_ID'",
    "tipo": "consulta",
    "contenido": "¿Cómo configuro un pipeline CI/CD con Docker?",
    "latency_ms": 1500,
    "tokens_entrada": 25,
    "tokens_salida": 150,
    "timestamp": "'$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)'"
  }'
