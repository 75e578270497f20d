"""Which packages of Debian the corpus is made from, and how many lines each gives."""

from __future__ import annotations

from typing import NamedTuple


class Source(NamedTuple):
    package: str
    globs: tuple[str, ...]
    """Files of the unpacked package; man pages, HTML and message catalogues are read as what a reader sees."""
    lines: int
    spanish: bool = False


_PYTHON = "usr/lib/python3/dist-packages"
_GO = "usr/share/gocode/src/github.com"

# One third in Spanish. What is full of numbers (examples of AWS, of /proc, rules with ids, changelogs) is meant
# to be here: prose has little that could be taken for something else.
SOURCES = (
    Source("manpages-es", ("usr/share/man/es/**/*.gz",), 430, True),
    Source("debian-reference-es", ("usr/share/debian-reference/*.es.html",), 390, True),
    Source("maint-guide-es", ("usr/share/doc/maint-guide-es/html/*.html",), 120, True),
    Source("aptitude-doc-es", ("usr/share/doc/aptitude/html/es/*.html",), 150, True),
    Source("apache2-doc", ("usr/share/doc/apache2-doc/manual/es/**/*.html",), 170, True),
    Source("dnsmasq-base", ("usr/share/man/es/**/*.gz", "usr/share/locale/es/**/*.mo"), 90, True),
    Source("util-linux-locales", ("usr/share/locale/es/**/*.mo",), 60, True),
    Source("apt", ("usr/share/locale/es/**/*.mo", "usr/share/man/es/**/*.gz"), 50, True),
    Source("dpkg", ("usr/share/locale/es/**/*.mo", "usr/share/man/es/**/*.gz"), 50, True),
    Source("systemd", ("usr/share/locale/es/**/*.mo",), 10, True),
    Source("systemd", ("usr/share/man/**/*.gz", "etc/systemd/*.conf", "usr/share/doc/systemd/*"), 200),
    Source("awscli", (f"{_PYTHON}/awscli/examples/**/*.rst",), 400),
    Source(
        "ansible",
        (f"{_PYTHON}/ansible_collections/{{community,kubernetes,amazon,azure,google}}/**/*.{{py,y*ml,rst}}",),
        300,
    ),
    Source(
        "ansible-core", (f"{_PYTHON}/ansible/**/*.y*ml", f"{_PYTHON}/ansible/modules/*.py", "usr/share/doc/**/*"), 150
    ),
    Source("docker-doc", ("usr/share/doc/docker-doc/**/*.md*",), 220),
    Source("docker-compose", ("usr/share/doc/docker-compose/*", f"{_PYTHON}/compose/**/*.json"), 60),
    Source("kubernetes-client", ("usr/share/man/**/*.gz", "usr/share/doc/kubernetes-client/*"), 150),
    Source("cloud-init", ("usr/share/doc/cloud-init/examples/*", "etc/cloud/**/*"), 100),
    Source("jenkins-job-builder-doc", ("usr/share/doc/**/_sources/*.txt", "usr/share/doc/**/html/*.html"), 60),
    Source("golang-github-hashicorp-hcl-dev", (f"{_GO}/**/*.hcl", f"{_GO}/**/*.json"), 60),
    Source("golang-github-hashicorp-hcl-v2-dev", (f"{_GO}/**/*.hcl", f"{_GO}/**/*.md", f"{_GO}/**/*.t"), 40),
    Source("golang-github-hashicorp-terraform-json-dev", (f"{_GO}/**/*.tf", f"{_GO}/**/*.json"), 60),
    Source(
        "golang-github-prometheus-alertmanager-dev", (f"{_GO}/**/*.y*ml", f"{_GO}/**/*.md", "usr/share/doc/**/*"), 80
    ),
    Source("golang-github-prometheus-common-dev", (f"{_GO}/**/testdata/*", "usr/share/doc/**/*"), 60),
    Source("golang-github-prometheus-procfs-dev", (f"{_GO}/**/*.ttar", f"{_GO}/**/*_test.go"), 120),
    Source("haproxy-doc", ("usr/share/doc/haproxy/html/*.html",), 120),
    Source("haproxy", ("usr/share/doc/haproxy/*", "usr/share/doc/haproxy/examples/*"), 60),
    Source("nginx-common", ("etc/nginx/**/*", "usr/share/doc/nginx-common/*"), 40),
    Source("redis-server", ("etc/redis/*.conf", "usr/share/doc/redis-server/*"), 60),
    Source("mariadb-server", ("etc/mysql/**/*", "usr/share/man/**/*.gz", "usr/share/mysql/*.txt"), 70),
    Source("postgresql-common", ("usr/share/man/**/*.gz", "usr/share/postgresql-common/*", "usr/share/doc/**/*"), 50),
    Source("postgresql-doc-15", ("usr/share/doc/postgresql-doc-15/html/*.html",), 150),
    Source("pgbadger", ("usr/share/doc/pgbadger/**/*", "usr/share/man/**/*.gz"), 40),
    Source("zookeeper", ("etc/zookeeper/**/*", "usr/share/zookeeper/bin/*", "usr/share/doc/zookeeper/*"), 20),
    Source("rsyslog-doc", ("usr/share/doc/**/_sources/**/*.txt",), 100),
    Source("logcheck-database", ("etc/logcheck/**/*",), 60),
    Source("modsecurity-crs", ("usr/share/modsecurity-crs/rules/*.conf", "usr/share/doc/modsecurity-crs/*"), 70),
    Source("nftables", ("usr/share/doc/nftables/examples/*", "usr/share/man/**/*.gz"), 40),
    Source("sysstat", ("usr/share/man/**/*.gz", "usr/share/doc/sysstat/*"), 60),
    Source("logrotate", ("usr/share/man/**/*.gz", "etc/logrotate*", "usr/share/doc/logrotate/*"), 30),
    Source("openssh-client", ("usr/share/man/**/*.gz", "usr/share/doc/openssh-client/*"), 60),
    Source("git-doc", ("usr/share/doc/git-doc/*.txt", "usr/share/doc/git-doc/technical/*.txt"), 130),
)
