class DevOpsMetrics {
  constructor() {
    this.baseURL = 'https://koomtai.com/api';
    this.gptId = 'devops-expert';
  }

  async createSession(userId) {
    const response = await fetch(`${this.baseURL}/sessions`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json'
      },
      body: JSON.stringify({
        gpt_id: this.gptId,
        usuario_id: userId,
        timestamp_inicio: new Date().toISOString()
      })
    });
    
    const session = await response.json();
    return session.id;
  }

  async logEvent(sessionId, eventType, content, latency, tokensIn, tokensOut) {
    await fetch(`${this.baseURL}/events`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json'
      },
      body: JSON.stringify({
        sesion_id: sessionId,
        tipo: eventType,
        contenido: content,
        latency_ms: latency,
        tokens_entrada: tokensIn,
        tokens_salida: tokensOut,
        timestamp: new Date().toISOString()
      })
    });
  }
}

// Uso del código
const metrics = new DevOpsMetrics();

async function handleUserQuery(userId, userQuery) {
  const startTime = Date.now();
  
  // Crear sesión
  const sessionId = await metrics.createSession(userId);
  
  // Procesar consulta (tu lógica aquí)
  const response = await processDevOpsQuery(userQuery);
  
  // Calcular métricas
  const latency = Date.now() - startTime;
  const tokensIn = countTokens(userQuery);
  const tokensOut = countTokens(response);
  
  // Registrar evento
  await metrics.logEvent(
    sessionId,
    'consulta',
    userQuery,
    latency,
    tokensIn,
    tokensOut
  );
  
  return response;
}
