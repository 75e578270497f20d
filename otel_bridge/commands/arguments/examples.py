"""The examples of commands that have none where they are made: what `--help` shows below the options.

Each line is a whole command, which a test reads with the parser; what it is for stands after it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "check": (
        ("otel-bridge check", "la configuración de esta carpeta"),
        ("otel-bridge check --config /etc/otel-bridge.toml", "otra"),
    ),
    "openapi": (
        ("otel-bridge openapi", "el documento de toda la API"),
        ("otel-bridge openapi --gpt devops-expert", "el que importa ese GPT como acciones"),
    ),
    "keys": (("otel-bridge keys new devops-expert", "una clave para ese GPT"),),
    "keys new": (
        ("otel-bridge keys new devops-expert", "enseña la clave una vez, y la línea que la permite"),
        ("otel-bridge keys new devops-expert --write", "y pone esa línea en la configuración"),
    ),
    "journal": (
        ("otel-bridge journal status", "qué está pendiente, exportado, apartado"),
        ("otel-bridge journal parked", "qué rechazó el destino de los spans, y con qué palabras"),
        ("otel-bridge journal backup /var/backups/", "una copia en un archivo, con el puente en marcha"),
    ),
    "journal status": (
        ("otel-bridge journal status", "para personas"),
        ("otel-bridge journal status --json", "para un programa"),
        ("otel-bridge journal status --space", "también qué ocupa sus bytes"),
    ),
    "journal parked": (
        ("otel-bridge journal parked", "los 50 primeros"),
        ("otel-bridge journal parked --limit 1000 --json", "para un programa, una línea por registro"),
    ),
    "journal replay": (
        ("otel-bridge journal replay", "envía otra vez todo lo apartado"),
        ("otel-bridge journal replay 120 121 --wait 60", "estos dos, y espera un minuto a saber qué fue de ellos"),
    ),
    "demo": (
        ("otel-bridge demo", "tráfico al ritmo del día, hasta Ctrl-C"),
        ("otel-bridge demo --speed 240 --incident", "un día en seis minutos, con respuestas lentas"),
        ("otel-bridge demo --duration 60 --seed 7", "un minuto, siempre el mismo tráfico"),
    ),
    "doctor": (
        ("otel-bridge doctor", "prueba el puente y lo que esté configurado"),
        ("otel-bridge doctor --prometheus http://localhost:9090 --tempo http://localhost:3200", ""),
        ("otel-bridge doctor --wait 120 --json", "con más paciencia, para un programa"),
    ),
    "slo": (("otel-bridge slo suggest", "qué objetivo habría cumplido cada GPT"),),
    "user": (
        ("otel-bridge user hash usuario123", "lo que está por él en trazas y series"),
        ("otel-bridge user forget usuario123", "qué hay de él en el diario; con --yes se quita"),
    ),
    "completion": (
        ("otel-bridge completion bash > ~/.local/share/bash-completion/completions/otel-bridge", ""),
        ("otel-bridge completion zsh > ~/.zfunc/_otel-bridge", "en una carpeta de $fpath"),
        ("otel-bridge completion fish > ~/.config/fish/completions/otel-bridge.fish", ""),
    ),
}
"""By a command's words."""


def add(parser: argparse.ArgumentParser) -> None:
    """Gives the commands below `parser` their examples."""
    for words, command in parsers(parser).items():
        examples = EXAMPLES.get(words)
        if examples is not None and command.epilog is None:
            widest = max((len(example) for example, remark in examples if remark), default=0)
            lines = [f"  {example:{widest}}  {remark}".rstrip() for example, remark in examples]
            command.epilog = "\n".join(("ejemplos:", *lines))
            command.formatter_class = argparse.RawDescriptionHelpFormatter


def parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Every command below a parser, by its words; "" is the parser itself."""
    found = {"": parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                found |= {f"{name} {words}".rstrip(): one for words, one in parsers(command).items()}
    return found
