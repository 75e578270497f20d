"""Passwords as they appear in questions: assigned, on command lines, in YAML, JSON, SQL, URLs and sentences."""

from __future__ import annotations

import base64
import random

_VALUES = (
    "S3creto.2024", "hunter2!", "P@ssw0rd#99", "MiClaveSegura", "Tr0ub4dor&3", "correcto-caballo", "a8F3kQz91LmX",
    "Abc123456", "qwerty12", "x7$Kp!9vR", "ñandú2024", "Zx9%kd_21", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzz",
    "9f8e7d6c5b4a39281706f5e4d3c2b1a0",
)  # fmt: skip
_PLAIN = tuple(value for value in _VALUES if not set(value) & set("/#&%$@!"))
"""Those that need no quotes in a shell and no encoding in a URL."""

_ASSIGNED = (
    "DB_PASSWORD={}", "POSTGRES_PASSWORD: {}", "password = {}", "password: {}", "  password: \"{}\"",
    '"password": "{}"', "'password' => '{}'", "MYSQL_ROOT_PASSWORD={}", "export PGPASSWORD='{}'",
    "spring.datasource.password={}", "passwd={}", "pwd: {}", "contraseña: {}", "clave: {}", "<password>{}</password>",
    'ENV DB_PASS="{}"', "requirepass {}", "ansible_become_pass={}", "smtp_pass: '{}'", "-e POSTGRES_PASSWORD={}",
    "Server=db;User Id=sa;Password={};", '{{"user":"root","pass":"{}"}}', "secretKey: {}", "client_secret={}",
    "AWS_SECRET_ACCESS_KEY={}", "api_key: '{}'", "API_TOKEN={}", "access_token={}", "admin_password = \"{}\"",
    "password \"{}\"", "machine api.ejemplo.com login ana password {}", "password={}&grant_type=password",
    "X-Api-Key: {}", "SECRET_KEY = '{}'", "JWT_SECRET={}",
)  # fmt: skip
_COMMANDS = (
    "mysql -u root -p{} tienda", "mysqldump --password={} --all-databases", "curl -u ana:{} https://api.ejemplo.com",
    "sshpass -p {} ssh ana@web", "sshpass -p '{}' scp a b:", "docker login -u ana -p {}",
    "docker login --username ana --password {}", "redis-cli -a {} ping", "psql postgres://ana:{}@db/tienda",
    "htpasswd -b .htpasswd ana {}", "ldapsearch -D cn=admin -w {} -b dc=x", "az login -u ana@x.com -p {}",
    "helm install --set auth.password={} db bitnami/mysql",
    "kubectl create secret generic db --from-literal=password={}", "echo {} | sudo -S apt update",
    "echo '{}' | docker login --password-stdin", "openssl rsa -passin pass:{} -in k.pem",
    "smbclient -U ana%{} //nas/x", "mongo -u ana -p {} admin", "wget --user=ana --password={} https://x",
    "PGPASSWORD={} psql -h db", "rabbitmqctl add_user ana {}", "mariadb -uroot -p'{}'",
    "ansible-playbook -e ansible_password={}", "keytool -storepass {} -list", "net user ana {} /add",
    "vault login {}", "echo 'ana:{}' | chpasswd", "sqlplus ana/{}@db", "sqlcmd -S db -U sa -P {}",
    "mc alias set s3 http://x ana {}",
)  # fmt: skip
_SQL = (
    "CREATE USER ana WITH PASSWORD '{}';", "ALTER USER 'root'@'localhost' IDENTIFIED BY '{}';",
    "GRANT ALL ON *.* TO 'a'@'%' IDENTIFIED BY '{}'", "SET PASSWORD FOR 'ana' = PASSWORD('{}');",
    "ALTER ROLE ana PASSWORD '{}'", "CREATE LOGIN ana WITH PASSWORD = '{}'",
)  # fmt: skip
_URLS = (
    "postgres://ana:{}@db:5432/tienda", "redis://:{}@cache:6379/0", "amqp://guest:{}@mq",
    "mongodb+srv://ana:{}@cluster0.abc.mongodb.net", "https://ana:{}@git.ejemplo.com/x.git",
    "mysql+pymysql://root:{}@10-0-0-1/x", "https://api.ejemplo.com/v1?api_key={}",
    "https://x.io/?access_token={}&b=1", "jdbc:mysql://db/x?user=ana&password={}",
    "https://oauth2:{}@gitlab.com/x/y.git",
)  # fmt: skip
_SENTENCES = (
    "mi contraseña es {}", "la contraseña del servidor es {}", "la clave es: {}", "uso la contraseña {} y no entra",
    "usuario root contraseña {}", "user: admin pass: {}", "usuario: admin / clave: {}",
    "la password de la base de datos es {}", "my password is {}", "mi clave de acceso es {}", "contraseña nueva = {}",
    "el pass es {}", "con usuario admin y contraseña {} me dice denegado", "password for root: {}",
    "Contraseña: {} (temporal)",
)  # fmt: skip


def passwords(rng: random.Random) -> list[tuple[str, str, str]]:
    made = []
    groups = (
        ("assigned", _ASSIGNED, _VALUES),
        ("command", _COMMANDS, _PLAIN),
        ("SQL", _SQL, _VALUES),
        ("URL", _URLS, _PLAIN),
        ("sentence", _SENTENCES, _PLAIN),
    )
    for group, texts, values in groups:
        for text in texts:
            # In a sentence only what has a digit is told from the next word.
            usable = [value for value in values if group != "sentence" or any(char.isdigit() for char in value)]
            for value in rng.sample(usable, 5):
                made.append((f"password, {group}", value, text.format(value)))
    for value in rng.sample(_VALUES, 6):
        pair = base64.b64encode(f"ana:{value}".encode()).decode()
        made.append(("password, header", pair, f"Authorization: Basic {pair}"))
        made.append(("password, header", pair, f'"auth": "{pair}"'))
    return made
