"""Addresses of hosts, versions of four parts, and networks that are nobody's."""

from __future__ import annotations

import pytest

from otel_bridge.privacy.redaction import Redactor

REDACTOR = Redactor("on")

FOUND = [
    "host-1=5.9.12.7",
    "ping-target=5.9.12.7",
    "ip-publica=5.9.12.8",
    "el servidor 5.9.12.7",
    "postgres 3.4.5.6:5432",
    "psql -h 1.2.3.4 -U ana",
    "el worker-2 (1.2.3.4) no responde",
    "A record 1.2.3.4",
    "añadí 1.2.3.4 a la lista blanca",
    "Cloudflare 1.1.1.1",
    "ssh root@83.45.12.7",
    "ssh root@5.9.12.7",
    "host=83.45.12.7",
    "host: 5.9.12.7",
    "ping 8.8.8.8",
    "servidor 5.9.12.7 caído",
    "curl http://5.9.12.7:8080/",
    "el 5.9.12.7 no responde",
    "conecta a 5.9.12.7",
    "http://user@5.9.12.7/",
    "Accept: from 5.9.12.7 port 22",
    "IP:5.9.12.7",
    '{"ip": "5.9.12.7"}',
    '5.9.12.7 - - [29/Jun/2025:20:00:00] "GET / HTTP/1.1" 200',
    "nginx 10.0.0.12 no responde",
    "client: 83.45.12.7, server: _",
    "kubectl get nodes -o wide worker-1 Ready 83.45.12.7",
    "dig @8.8.8.8 x.io",
    "tcp 0 0 83.45.12.7:443 ESTABLISHED",
    "src=83.45.12.7 dst=10.0.0.5",
    "nginx 83.45.12.7",
    "grafana: 192.168.1.20:3000",
    "inet 192.168.1.15/24",
    "prod-db 172.16.3.4",
    "2001:db8::1/64",
    "Failed password for root from 5.9.12.7 port 22 ssh2",
    "allow 5.9.12.7;",
    "-> 5.9.12.7",
    "<ip>5.9.12.7</ip>",
    "ProxyPass / http://10.1.2.3/",
    "A 5.9.12.7",
    "registro A 5.9.12.7",
    "5.9.12.7",
]


@pytest.mark.parametrize("text", FOUND)
def test_an_address_goes(text: str) -> None:
    assert "[ip]" in (REDACTOR.redact(text, {}) or "")


NONE = [
    "apt install libssl3=3.0.11.1",
    "SQL Server 15.0.4.2",
    "Firefox 124.0.1.2",
    "Upgrading foo from 1.2.3.4 to 1.2.3.5",
    "de la 1.2.3.4 a la 1.2.3.5",
    "1.2.3.4-rc1",
    "1.2.3.4+build",
    "1.2.3.4-SNAPSHOT",
    "1.2.3.4.RELEASE",
    "§ 4.2.1.3",
    "rails (= 5.2.4.3)",
    "foo>=1.2.3.4,<2.0.0.0",
    '"assemblyVersion": "4.0.0.0"',
    "<PackageVersion>5.1.2.3</PackageVersion>",
    "## [1.2.3.4] - 2023-05-06",
    "fixed in 1.2.3.4",
    "a partir de la 1.2.3.4",
    "kernel 4.4.0.210",
    "64:ff9b::/96",
    "2002::/16",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "169.254.170.2",
    "::ffff:127.0.0.1",
    "redis 7.2.4.1 no arranca",
    "image: registry.io/app:2.4.1.7",
    "docker pull app:2.4.1.7",
    "helm upgrade --version 4.10.1.2",
    "chart redis-4.10.1.2.tgz",
    "npm i paquete@2.1.0.3",
    "spec.version: 2.1.0.3",
    '"appVersion": "1.2.3.4"',
    'version = "~> 3.1.2.4"',
    "kernel 5.10.0.28",
    "Terraform v1.5.7.1",
    "pip install x>=1.2.3.4",
    "postgresql-15.4.0.1",
    "Oracle 19.3.0.0 en Linux",
    "libssl.so.1.1.1.2",
    "tag: v2.3.4.5",
    "nginx/1.2.3.4",
    "Mozilla/5.0 Chrome/120.0.0.0 Safari",
    "v1.2.3.4",
    "multicast 224.0.0.251 y 239.255.255.250",
    "curl http://169.254.169.254/latest/meta-data",
    "ruta 0.0.0.0/0 y ::/0, 2000::/3, ff02::1",
    "100.64.0.0/10 169.254.0.0/16 172.16.0.0/12 224.0.0.0/4",
    'uso la versión "1.2.3.4"',
    "Jenkins 2.414.3.1 falla",
    "dotnet 8.0.1.2",
    "OpenSSL 3.0.13.0",
    "mi-chart 1.2.3.4 y otro-chart 2.3.4.5",
    "fdaa::/16 y fe80::/64",
    "Ubuntu 22.04.3.1",
    "rabbitmq:3.12.0.1-management",
    "SNAPSHOT 1.0.0.1",
]


@pytest.mark.parametrize("text", NONE)
def test_a_version_or_a_network_of_nobody_stays(text: str) -> None:
    assert REDACTOR.redact(text, {}) == text
