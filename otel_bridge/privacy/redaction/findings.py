"""What redaction finds in a text, and the placeholders it puts in its place."""

from __future__ import annotations

# Stable: they are the label values of `otel_bridge_redactions_total`.
PLACEHOLDERS = {
    "email": "[correo]",
    "phone": "[telefono]",
    "card": "[tarjeta]",
    "iban": "[iban]",
    "ip": "[ip]",
    "national_id": "[documento]",
    "api_key": "[clave]",
    "jwt": "[jwt]",
    "private_key": "[clave-privada]",
    "url_password": "[contraseña]",
}

Finding = tuple[int, int, str]
"""Start and end in the text that was searched, and a kind."""

PLACEHOLDER = r"\[(?:correo|telefono|tarjeta|iban|ip|documento|clave|jwt|clave-privada|contraseña)\]"
"""A pattern for any of them: a placeholder is never a finding."""
