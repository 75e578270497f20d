import requests
import json
from datetime import datetime
import uuid

class DevOpsMetrics:
    def __init__(self):
        self.base_url = 'https://koomtai.com/api'
        self.gpt_id = 'devops-expert'
    
    def create_session(self, user_id):
        payload = {
            'gpt_id': self.gpt_id,
            'usuario_id': user_id,
            'timestamp_inicio': datetime.utcnow().isoformat() + 'Z'
        }
        
        response = requests.post(
            f'{self.base_url}/sessions',
            headers={'Content-Type': 'application/json'},
            data=json.dumps(payload)
        )
        
        return response.json()['id']
    
    def log_event(self, session_id, event_type, content, latency, tokens_in, tokens_out):
        payload = {
            'sesion_id': session_id,
            'tipo': event_type,
            'contenido': content,
            'latency_ms': latency,
            'tokens_entrada': tokens_in,
            'tokens_salida': tokens_out,
            'timestamp': datetime.utcnow().isoformat() + 'Z'
        }
        
        requests.post(
            f'{self.base_url}/events',
            headers={'Content-Type': 'application/json'},
            data=json.dumps(payload)
        )

# Uso del código
metrics = DevOpsMetrics()

def handle_user_query(user_id, user_query):
    import time
    start_time = time.time()
    
    # Crear sesión
    session_id = metrics.create_session(user_id)
    
    # Procesar consulta (tu lógica aquí)
    response = process_devops_query(user_query)
    
    # Calcular métricas
    latency = int((time.time() - start_time) * 1000)
    tokens_in = count_tokens(user_query)
    tokens_out = count_tokens(response)
    
    # Registrar evento
    metrics.log_event(
        session_id,
        'consulta',
        user_query,
        latency,
        tokens_in,
        tokens_out
    )
    
    return response
