"""Keys of providers, tokens and private keys, each drawn in the shape that its provider documents."""

from __future__ import annotations

import base64
import random
import string

Rng = random.Random
_B62 = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


def _word(rng: Rng, alphabet: str, count: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


# Prefix, alphabet and length by each provider's documentation.
_KEYS = (
    ("sk-" + "proj-", _B62 + "-_", 64), ("sk-" + "ant-api03-", _B62 + "-_", 80), ("sk-", _B62, 48),
    ("sk-or-v1-", _HEX, 64), ("xai-", _B62, 80), ("gsk_", _B62, 52), ("hf_", string.ascii_letters, 34),
    ("r8_", _B62, 37), ("AKIA", string.ascii_uppercase + "234567", 16),
    ("ASIA", string.ascii_uppercase + "234567", 16), ("ghp_", _B62, 36), ("gho_", _B62, 36), ("ghs_", _B62, 36),
    ("github_pat_", _B62, 82), ("glpat-", _B62 + "-_", 20), ("gldt-", _B62, 20), ("glrt-", _B62, 20),
    ("xoxb-", string.digits, 12), ("xoxp-", string.digits, 24), ("xapp-1-", _B62, 40), ("AIza", _B62 + "-_", 35),
    ("ya29.", _B62 + "-_", 60), ("GOCSPX-", _B62 + "-_", 28), ("sk_live_", _B62, 24), ("sk_test_", _B62, 24),
    ("rk_live_", _B62, 24), ("whsec_", _B62, 32), ("sq0atp-", _B62, 22), ("npm_", _B62, 36),
    ("pypi-", _B62 + "-_", 100), ("dckr_pat_", _B62 + "-_", 27), ("key-", _HEX, 32), ("SK", _HEX, 32),
    ("dop_v1_", _HEX, 64), ("dp.pt.", _B62, 43), ("hvs.", _B62, 90), ("glsa_", _B62, 32), ("glc_", _B62, 60),
    ("sntrys_", _B62, 60), ("pul-", _HEX, 40), ("dapi", _HEX, 32), ("shpat_", _HEX, 32), ("lin_api_", _B62, 40),
    ("figd_", _B62 + "-_", 40), ("ntn_", _B62, 46), ("ATATT3xFfGF0", _B62 + "-_", 180),
    ("NRAK-", string.ascii_uppercase + string.digits, 27), ("PMAK-", _HEX, 59),
    ("AGE-SECRET-KEY-1", string.ascii_uppercase + string.digits, 58), ("tskey-auth-", _B62, 30),
    ("nvapi-", _B62 + "-_", 64), ("pplx-", _B62, 48), ("EAAC", _B62, 120), ("CFPAT-", _B62 + "-_", 43),
)  # fmt: skip
_KEY_TEXTS = (
    "{}",
    "mi clave {} no va",
    "OPENAI_KEY={}",
    '"k": "{}",',
    "curl -H 'X-Auth: {}'",
    "https://api.ejemplo.com/?k={}",
    "error con `{}`:",
)


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def keys(rng: Rng) -> list[tuple[str, str, str]]:
    made = []
    for prefix, alphabet, count in _KEYS:
        for text in _KEY_TEXTS:
            value = prefix + _word(rng, alphabet, count - 1) + rng.choice(alphabet.rstrip("-_"))
            made.append((f"api_key, {prefix}…", value, text.format(value)))
    for _ in range(8):
        bot = f"{rng.randrange(10**9, 10**10)}:AA{_word(rng, _B62, 33)}"
        grid = f"SG.{_word(rng, _B62, 22)}.{_word(rng, _B62, 43)}"
        azure = f"{_word(rng, _B62, 3)}8Q~{_word(rng, _B62, 34)}"
        terraform = f"{_word(rng, _B62, 14)}.atlasv1.{_word(rng, _B62, 67)}"
        header, payload = _base64('{"alg":"HS256","typ":"JWT"}'), _base64(f'{{"sub":"{rng.randrange(10**9)}"}}')
        hook = f"T0{_word(rng, _B62, 8)}/B0{_word(rng, _B62, 8)}/{_word(rng, _B62, 24)}"
        jwt, body = f"{header}.{payload}.{_word(rng, _B62, 43)}", _word(rng, _B62, 64)
        name = rng.choice(("", "RSA ", "EC ", "OPENSSH ")) + "PRIVATE KEY"
        url = f"https://api.telegram.org/bot{bot}/getMe"
        holder = rng.choice(("{}", "Authorization: Bearer {}", "token {}", "Cookie: s={};"))
        made += [
            ("api_key, Telegram", bot, rng.choice((bot, url))),
            ("api_key, SendGrid", grid, grid),
            ("api_key, Azure", azure, azure),
            ("api_key, Terraform Cloud", terraform, terraform),
            ("api_key, Slack hook", hook, f"https://hooks.slack.com/services/{hook}"),
            ("jwt", jwt, holder.format(jwt)),
            ("private_key", body, f"-----BEGIN {name}-----\n{body}\n{body[::-1]}\n-----END {name}-----"),
        ]
    return made
