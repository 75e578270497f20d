"""Keys of providers: each row of the table by samples made of the row, what is no key, and bounded work."""

from __future__ import annotations

import random
import re
import string
import time
from collections.abc import Iterator

# The only parser of patterns at hand: the samples of a `shape` come from the shape itself.
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from otel_bridge.privacy.redaction.providers import FORMATS, Format, find_provider_keys

PRINTABLE = [chr(code) for code in range(33, 127)]


def keys_in(text: str) -> list[str]:
    findings = list(find_provider_keys(text))
    assert all(kind == "api_key" for _, _, kind in findings)
    return [text[start:end] for start, end, _ in findings]


def characters(inside: str) -> list[str]:
    """The characters of a class."""
    return [char for char in PRINTABLE if re.match(f"[{inside}]", char)]


def sample(pattern: str, chance: random.Random, *, extra: int = 0) -> str:
    """A text that the pattern matches; open repeats take `extra` more than they need."""

    def written(nodes: Any) -> Iterator[str]:
        for op, value in nodes:
            name = str(op)
            if name == "LITERAL":
                yield chr(value)
            elif name == "IN":
                yield chance.choice([char for char in PRINTABLE if any(holds(item, char) for item in value)])
            elif name in ("MAX_REPEAT", "POSSESSIVE_REPEAT"):
                least, most, body = value
                for _ in range(min(int(most), least + extra)):
                    yield from written(body)
            elif name == "SUBPATTERN":
                yield from written(value[3])
            elif name == "BRANCH":
                yield from written(chance.choice(value[1]))
            else:
                assert name.startswith("ASSERT"), name

    def holds(item: Any, char: str) -> bool:
        name = str(item[0])
        if name == "RANGE":
            return bool(item[1][0] <= ord(char) <= item[1][1])
        assert name == "LITERAL"
        return bool(item[1] == ord(char))

    return "".join(written(parser.parse(pattern)))


def of(inside: str, length: int, chance: random.Random) -> str:
    """As many characters of a class: a sign now and then, as in base64, and none at the end."""
    plain = [char for char in characters(inside) if char.isalnum()]
    signs = [char for char in characters(inside) if not char.isalnum() and char != "."] or plain
    middle = "".join(chance.choice(signs if chance.random() < 0.03 else plain) for _ in range(length - 2))
    return (chance.choice(plain) + middle + chance.choice(plain))[:length]


LOOKS_RANDOM = re.compile("(?=[A-Za-z0-9]{8})[A-Za-z0-9]*[0-9][A-Za-z]+[0-9]|[0-9]{9}").search
"""One in some hundred short keys reads as words. Those are left alone, and are no samples."""


def key(row: Format, prefix: str, chance: random.Random, *, length: int | None = None) -> str:
    while True:
        made = sample(row.before, chance) + prefix
        if row.shape:
            made += sample(row.shape, chance, extra=chance.randrange(3))
        else:
            made += of(row.alphabet, row.least if length is None else length, chance)
        if LOOKS_RANDOM(made) and (made[-1].isalnum() or made[-1] == "="):
            return made


ROWS = [(row, prefix) for row in FORMATS for prefix in row.prefixes.split() or [""]]
IDS = [f"{row.provider}: {prefix or 'shape'}" for row, prefix in ROWS]


@pytest.mark.parametrize(("row", "prefix"), ROWS, ids=IDS)
def test_a_key_of_each_format_is_found_whole(row: Format, prefix: str) -> None:
    chance = random.Random(f"{row.provider} {prefix}")
    for _ in range(5):
        secret = key(row, prefix, chance)
        for text in (
            secret,
            f"mira {secret} gracias",
            f'"{secret}"',
            f"'{secret}',",
            f"la clave es {secret}.",
            f"({secret})",
            f"¿{secret}?",
            f'{{"clave": "{secret}", "n": 1}}',
            f'{{"texto":"línea\\n{secret}\\nfin"}}',
            f"https://api.ejemplo.com/v1?a=1&c={secret}&b=2",
            f"https://api.ejemplo.com/?c=%22{secret}&b=2",
            f"CLAVE={secret}\nOTRA={secret}",
        ):
            assert secret in keys_in(text), (text, keys_in(text))


def alone(row: Format, prefix: str) -> bool:
    """Whether no other row could take what is too short for this one."""
    return not any(
        other is not row and (not start or start.startswith(prefix) or prefix.startswith(start)) for other, start in OWN
    )


OWN = [(row, prefix) for row, prefix in ROWS if not row.before and prefix]
PLAIN = [(row, prefix) for row, prefix in OWN if row.alphabet and alone(row, prefix)]


@pytest.mark.parametrize(("row", "prefix"), PLAIN, ids=[f"{row.provider}: {prefix}" for row, prefix in PLAIN])
def test_a_rest_one_character_too_short_is_no_key(row: Format, prefix: str) -> None:
    chance = random.Random(f"short {row.provider} {prefix}")
    for _ in range(20):
        secret = key(row, prefix, chance, length=row.least - 1)
        assert secret not in keys_in(f"mira {secret} gracias")


@pytest.mark.parametrize(("row", "prefix"), PLAIN, ids=[f"{row.provider}: {prefix}" for row, prefix in PLAIN])
def test_a_rest_too_long_is_no_key_and_one_without_a_limit_is_taken_whole(row: Format, prefix: str) -> None:
    chance = random.Random(f"long {row.provider} {prefix}")
    for _ in range(20):
        secret = key(row, prefix, chance, length=(row.most or 2 * row.least) + 1)
        assert (secret in keys_in(f"mira {secret} gracias")) == (row.most is None)


def test_the_table_is_in_order_and_says_where_each_format_is_from() -> None:
    names = [row.provider.lower() for row in FORMATS]
    assert names == sorted(names)
    assert all(row.source for row in FORMATS)
    assert len(set(ROWS)) == len(ROWS)


def test_every_row_can_begin_a_key() -> None:
    for row, prefix in ROWS:
        assert bool(row.shape) != bool(row.alphabet), row
        assert row.before or not prefix or prefix[0] in string.ascii_letters + string.digits, row
        shortest = len(key(row, prefix, random.Random(0)))
        assert shortest >= (32 if row.before else 15), (row, "the finder passes over words as short")


# --- the lines of the issue ------------------------------------------------------------------------------

B62 = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC2dF4hJ6kL8nP0rS2tU4wX6zA8cE0gI2kM4oqR1tY3uI5oP7aS9dF1gH3jK5lZ7xC9vB1nM3"
HEX = "0123456789abcdef" * 4
ISSUE = {
    "SonarQube": "squ_" + HEX[:40],
    "Artifactory": "AKCp" + B62[:69],
    "Artifactory, reference token": "cmVmd" + B62[:59],
    "OpenShift": "sha256~" + B62[:43],
    "PlanetScale": "pscale_tkn_" + B62[:40],
    "Infracost": "ico-" + B62[:32],
    "1Password": "ops_" + "eyJ" + (B62 * 3)[:250],
    "GitLab, runner": "GR1348941" + B62[:20],
    "Hugging Face, organisation": "api_org_" + B62[:34],
    "GitHub": "ghp_" + B62[:36],
    "GitLab, routable": "glpat-" + B62[:27] + ".0r03gxo7s",
    "GitLab, routable, versioned": "glpat-" + B62[:27] + ".01.0r03gxo7s",
    "Slack, refresh": "xoxe-1-" + (B62 * 2)[:146],
    "Google": "AIza" + B62[:35],
    "Grafana": "glsa_" + B62[:32] + "_01234567",
    "Databricks": "dapi" + HEX[:32],
    "Anthropic, OAuth": "sk-" + "ant-oat01-" + B62[:93],
    "Slack, bot": "xoxb-" + "123456789012-1234567890123-" + B62[:24],
    "Telegram": "123456789:AA" + B62[:33],
    "Azure": "abc8Q~" + B62[:34],
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "Mailchimp": HEX[:32] + "-us12",
    "Terraform": B62[:14] + ".atlasv1." + B62[:67],
    "Discord": "MTAyNzQ0MzE5Mjg0NzUzNDA4." + "GaB3dE." + B62[:38],
}


@pytest.mark.parametrize("secret", ISSUE.values(), ids=ISSUE.keys())
def test_finds_what_the_issue_names(secret: str) -> None:
    assert keys_in(f"mira {secret} gracias") == [secret]


def test_two_keys_in_one_word_are_two_findings() -> None:
    keys = [ISSUE["GitHub"], ISSUE["Google"]]
    assert keys_in(f"{keys[0]},{keys[1]}") == keys


@pytest.mark.parametrize("around", ["línea\\n{}\\nfin", "%3D{}", "a\\u0022{}\\u0022", "x_{}", "\u00f1{}"])
def test_a_key_begins_after_an_escape_or_a_sign(around: str) -> None:
    assert keys_in(around.format(ISSUE["GitHub"])) == [ISSUE["GitHub"]]


def test_a_prefix_within_a_word_begins_no_key() -> None:
    assert keys_in(f"x{ISSUE['GitHub']}") == []


# --- what is no key --------------------------------------------------------------------------------------

NO_KEYS = {
    "uuid": "550e8400-e29b-41d4-a716-446655440000 y 41111111-1111-4111-8111-111111111111",
    "git sha": "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "short hash": "imagen:9fceb02d0ae5",
    "digest": f"nginx@sha256:{HEX}",
    "checksum": f"{HEX}  paquete-1.2.3.tar.gz",
    "md5": "d41d8cd98f00b204e9800998ecf8427e",
    "ARN": "arn:aws:iam::123456789012:role/deploy-production-eu-west-1",
    "ARN of a key": "arn:aws:kms:eu-west-1:123456789012:key/550e8400-e29b-41d4-a716-446655440000",
    "pod": "pod/web-7d9f8b6c5d-x2x8z en kube-system",
    "long pod": "ingress-nginx-controller-5c8d66c76d-wk7qz",
    "node": "gke-prod-pool-1-5c8f7d9b-abcd.europe-west1-b.c.proyecto-12345.internal",
    "date-stamped": "backup-20250629200000-full-0001.tar.gz y job_20250629_200000_000123",
    "trace context": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "base64 of a text": "RXN0byBlcyB1biB0ZXh0byBjdWFscXVpZXJhLCBubyB1bmEgY2xhdmUu",
    "integrity": "sha512-v2kDEe57lecTulaDIuNTPy3Ry4gLGJ6Z1O3vE1krgXZNrsQ+LFTGHVxVjcXPs17LhbZVGedAJv8XZ1tvj5FvSg==",
    "integrity, 1": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    "integrity, 256": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "go.sum": "golang.org/x/text v0.3.7 h1:olpwvP2KacW1ZWvsR7uQhoyTYvKAupfQrRGBFM352Gk=",
    "public SSH key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    "camelCase": "getUserAccountInformationServiceImplementationFactory2",
    "snake_case": "api_organization_members_list_with_permissions_v2",
    "kebab-case": "key-management-service-configuration-for-production-2",
    "prefix sk-": "sk-learn sk-learn-contrib-model-selection-and-evaluation-tools-2 sk-folding-cube-animation-2",
    "prefix task-": "task-queue-worker-high-priority-eu-west-1",
    "prefix pypi-": "pypi-publish-action-for-github-workflows-with-attestations-v1",
    "prefix npm_": "npm_config_registry_authentication_token_2 npm_package_dependencies_lodash",
    "prefix hf_": "hf_transfer hf_hub_download_with_retries_2 hf_xet_high_performance",
    "prefix ghp_": "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ghp_your_personal_access_token_here",
    "prefix glpat-": "glpat-your-personal-token-goes-here-2024",
    "prefix xai-": "xai-explainable-machine-learning-k8s-operator-v1beta1",
    "prefix secret_": "secret_manager_version_access_configuration_policy_1",
    "prefix api-": "api-gateway-production-deployment-2024-06-29",
    "prefix pat": "pattern.configuration-management-for-all-the-services-of-the-company-and-more-2",
    "prefix sk_test_": "sk_test_configuration_name",
    "prefix dp.": "dp.statistics.configuration.for.production.environments.v2",
    "prefix figd_": "figd_configuration_of_the_plugin_2",
    "prefix t1.": "t1.configuration_table.created_at_timestamp",
    "prefix AQ": "AQUATIC-RESEARCH-CENTER-2024",
    "prefix AKIA": "AKIAIOSFODNN7EXAMPLE7LONGER",
    "prefix SK": "SKU-2024-00012345-AB",
    "prefix M": "MyVeryLongConfigurationName.method.another_very_long_method_name_2",
    "path": "/usr/lib/python3.11/site-packages/otel_bridge/redaction/providers_2.cpython-311-x86_64-linux-gnu.so",
    "path with a hash": "/nix/store/9fceb02d0ae598e95dc970b74767f193-python3-3.11.4/bin/python3.11",
    "url": "https://github.com/org/repo/actions/runs/15957912345/job/45006543210?pr=12",
    "registry": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/equipo/servicio-de-pagos:1.20.3-rc1",
    "prefixes in a sentence": "las claves empiezan por sk-proj- o ghp_ y las hay de 40",
    "public keys": f"pk_live_{B62[:24]} y phc_{B62[:43]} y AC{HEX[:32]} y pk-lf-550e8400-e29b-41d4-a716-446655440000",
    "java class": "org.springframework.boot.autoconfigure.security.oauth2.client.OAuth2ClientAutoConfiguration",
    "mime boundary": "----WebKitFormBoundary7MA4YWxkTrZu0gW",
    "version": "5.15.0-1051-azure #59~20.04.1-Ubuntu SMP",
    "terraform": "module.kubernetes_cluster.aws_eks_node_group.production_workers[0].scaling_config",
    "a placeholder": "[clave] y [clave-privada]",
}


@pytest.mark.parametrize("text", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_leaves_alone(text: str) -> None:
    assert keys_in(text) == []


def test_leaves_random_hashes_and_ids_alone() -> None:
    chance = random.Random("hashes")
    for _ in range(3000):
        number = f"{chance.getrandbits(512):0128x}"
        for length in (7, 12, 32, 40, 64, 96, 128):
            assert keys_in(f"v {number[:length]} sha256:{number[:length]} x-{number[:length]}.tgz") == []
        uuid = f"{number[:8]}-{number[8:12]}-4{number[13:16]}-a{number[17:20]}-{number[20:32]}"
        assert keys_in(f"id={uuid} run_{uuid} {uuid}.log") == []


# --- bounded work ----------------------------------------------------------------------------------------

SIZE = 16384
UNITS = sorted(
    {prefix for _, prefix in ROWS}
    | {prefix + tail for _, prefix in ROWS for tail in ("a", "1 ")}
    | {
        *("a", "1", "A", "-", "+", ".", "a-", "M-", "0-", "1.", "1:", "a/", "a+", "\\n", "\\u0022", "%22", "=M", "é-"),
        *("12345678:", "SG." + "a" * 16 + ".", "a" * 33 + "/", "a" * 75 + "-", "x1" * 8 + " ", "x" * 15 + " "),
        *("sk-aaaaaaaaaaaaaaa ", "MaB3dE5gH7jK9mN1pQ3sT5v.", "1/1234567890123456:", "00aaaaaaaaaaaaa!", "abc8Q~"),
    }
)


def test_hostile_repetition_is_bounded_work() -> None:
    """Thirty times the time that it takes on a quiet machine: what grows with the square takes much longer."""
    for unit in filter(None, UNITS):
        text = (unit * (SIZE // len(unit) + 1))[: SIZE - 1] + "1"
        began = time.thread_time()
        list(find_provider_keys(text))
        assert time.thread_time() - began < 0.1, unit
