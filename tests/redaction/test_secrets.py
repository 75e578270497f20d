"""Secrets that something announces, as tables: what goes, what stays. The secret of every row of `GONE` is `X…9`."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from otel_bridge.privacy.redaction import Redactor, announced, labels

REDACTOR = Redactor("on")
HERE = Path(__file__).parent
SECRET = "Perro2024"


def redact(text: str) -> str:
    redacted = REDACTOR.redact(text, {})
    assert redacted is not None
    assert REDACTOR.redact(redacted, {}) == redacted, "not idempotent"
    return redacted


# Texts with `§` for the secret; what is to be left is the same text with `[clave]` there.
COMMANDS = [
    "sshpass -p § ssh root@nodo1",
    "sshpass -p§ scp a b:",
    'sshpass -p "§" ssh -p 2222 nodo1',
    "docker login -u ana -p § registry.io",
    "docker login registry.io --username ana -p '§'",
    "podman login -p § quay.io",
    "helm registry login r.io -u ana -p §",
    "oc login https://api:6443 -u dev -p §",
    "oc login --token=§ https://api",
    "az login --service-principal -u app -p § --tenant t",
    "az acr login -n r -u u -p §",
    "redis-cli -a § ping",
    "redis-cli -h cache -p 6379 -a '§' info",
    "redis-cli --pass § ping",
    "mysql -u root -p§ app < dump.sql",
    "mysql -uroot -p'§' -h db",
    "mysqldump --single-transaction -u root -p§ app > d.sql",
    "docker exec -i db mysql -uroot -p§ app",
    "mariadb -p§",
    "mysqladmin -u root password '§'",
    "mongo -u admin -p § --authenticationDatabase admin",
    "mongosh mongodb://h/x -u admin -p '§'",
    "mongodump -u a -p§ --db x",
    "PGPASSWORD=§ psql -h db -U app",
    "ldapsearch -x -D cn=admin,dc=x -w § -b dc=x",
    "ldapadd -w '§' -f x.ldif",
    "smbclient //srv/c -U ana%§",
    "htpasswd -b /etc/nginx/.htpasswd ana §",
    "htpasswd -bc .htpasswd ana '§'",
    "htpasswd -nbB ana §",
    "openssl rsa -in k.pem -passin pass:§ -out k2.pem",
    "openssl pkcs12 -export -passout pass:§",
    "openssl enc -aes-256-cbc -k § -in a",
    "keytool -genkey -storepass § -alias a",
    "keytool -import -keypass '§'",
    "curl -u ana:§ https://x.io",
    "curl -sS -uana:§ https://x.io",
    "curl --user 'ana:§' https://x.io",
    "curl --proxy-user ana:§ https://x.io",
    "curl -x http://p -U ana:§ https://x.io",
    "wget --user=ana --password=§ https://x.io",
    "wget --http-password='§' https://x.io",
    "skopeo copy --src-creds ana:§ docker://a docker://b",
    "skopeo inspect --creds=ana:§ docker://a",
    "net user ana § /add",
    "net use Z: \\\\srv\\share § /user:ana",
    "echo § | passwd --stdin ana",
    'echo "§" | sudo passwd --stdin ana',
    "echo 'ana:§' | chpasswd",
    "echo ana:§ | sudo chpasswd",
    "chpasswd <<< 'ana:§'",
    "echo § | sudo -S apt update",
    "echo § | docker login -u ana --password-stdin",
    "sqlcmd -S srv -U sa -P § -Q 'select 1'",
    "bcp t in f -U sa -P§",
    "svn co https://x --username ana --password §",
    "7z a -p§ copia.7z dir",
    "7z x copia.7z -p'§'",
    "zip -P § a.zip f",
    "unzip -P '§' a.zip",
    "rabbitmqctl add_user ana §",
    "rabbitmqctl change_password ana '§'",
    "influx -username a -password § -database x",
    "mosquitto_pub -h b -u ana -P § -t x -m y",
    "snmpwalk -v3 -l authPriv -u ana -a SHA -A § -x AES h",
    "snmpget -v3 -u ana -X § h",
    "ipmitool -I lanplus -H h -U admin -P § power status",
    "xfreerdp /u:ana /p:§ /v:h",
    "cmdkey /add:srv /user:ana /pass:§",
    "$p = ConvertTo-SecureString '§' -AsPlainText -Force",
    'ConvertTo-SecureString -String "§" -AsPlainText',
    "gpg --batch --passphrase § -d f.gpg",
    'ansible-playbook x.yml --extra-vars "ansible_password=§"',
    "ansible all -e ansible_become_pass=§",
    'sasl.jaas.config=org.x.PlainLoginModule required username="a" password="§";',
    "machine x.io login ana password §",
    "machine x.io\n  login ana\n  password §\nmachine y.io",
    "default login ana password §",
    "Cookie: lang=es; session=§abcdefgh",
    "Set-Cookie: sid=§abcdefgh; Path=/; HttpOnly",
    "curl -b 'sid=§abcdefgh' https://x.io",
    "expect 'password:' send '§\\r'",
    'expect "*assword:"\nsend "§\\r"',
    'send -- "§\\n"',
    'spawn ssh ana@h\nsend "§\\r"',
    "twine upload -u __token__ -p § dist/*",
    "plink -ssh ana@h -pw § ls",
    "kubectl create secret generic db --from-literal=password=§",
    "rclone obscure §",
    "mysql \\\n  -u root \\\n  -p§ app",
    "7z a -p§ x.7z && zip -P § y.zip z",
]

COMMANDS_LEFT = [
    "ssh -p 2222 deploy@nodo1",
    "docker run -p 8080:80 nginx:1.25",
    "mkdir -p /srv/app2/data",
    "nmap -p 22,80 host1",
    "mysql -p < dump2024.sql",
    "mysql -u root -p tienda2024",
    "mysql -h db -P 3306 -u root -p",
    "git commit -a -m 'fix: 123'",
    "ls -a /var/log2",
    "psql -p 5432 -U app2",
    "netstat -p 2>/dev/null",
    "cp -p a1 b1",
    'docker login -u ana -p "$TOKEN" r1.io',
    "docker login -u ana --password-stdin r1.io < pass1.txt",
    "sshpass -f /run/clave1 ssh nodo1",
    "sshpass -e ssh nodo1",
    "sshpass -p $PASS1 ssh nodo1",
    "docker compose -p proyecto2024 up",
    "redis-cli -h cache -p 6379 -n 2",
    "openssl rsa -passin env:CLAVE1 -in k1.pem",
    "openssl rsa -passin file:/run/clave1 -in k1.pem",
    "curl -u $USER1:$PASS1 https://x.io",
    "curl -u ana:${PASS1} https://x.io",
    "az login -u ci -p $AZ_PASS1",
    "unzip -p a1.zip f1",
    "kubectl logs -p pod-1",
    "docker build --secret id=npm,src=.npmrc1 .",
    "mysqldump --password-file /run/x1 app",
    "gcloud secrets versions access latest --secret=db-password",
    "tar -cpf a1.tar b1",
    "Set-Cookie: SameSite=Lax; Max-Age=86400; Path=/x1",
    'send "ls -la /tmp1\\r"',
    "rabbitmqctl add_vhost vhost2024",
    "curl -x http://proxy:3128 -b cookies1.txt https://x.io",
]

DOCUMENTS = [
    '{"auths": {"r.io": {"auth": "QW5hOl§bzIwMjQ="}}}',
    "kind: Secret\nmetadata:\n  name: db\ndata:\n  URL: §\n  otra: §\n",
    "apiVersion: v1\ndata:\n  url: §\nkind: Secret\nmetadata:\n  name: db",
    "kind: ConfigMap\ndata:\n  modo: rapido2024\n---\nkind: Secret\nstringData:\n  url: §\n---\nkind: Pod",
    "kind: Secret\nstringData:\n  app.conf: |\n    §\ntype: Opaque",
    'kind: "Secret"\nstringData: {url: §, otra: "§"}',
    "kind: Secret\nstringData:\n  url: \"§\"\n  # comentario\n  otra: '§'",
    '{"apiVersion": "v1", "kind": "Secret", "data": {"url": "§", "x": "§"}}',
    '{"data": {"url": "§"}, "kind": "Secret"}',
    "items:\n- apiVersion: v1\n  kind: Secret\n  data:\n    url: §\n"
    "- apiVersion: v1\n  kind: ConfigMap\n  data:\n    a: b2024",
    "  .dockerconfigjson: §abcdefgh",
    "    client-key-data: LS0tLS1§",
    "users:\n- name: ana\n  user:\n    token: §abcdefgh",
    "env:\n- name: DB_PASSWORD\n  value: §",
    'env:\n  - name: "DB_PASSWORD"\n    value: "§"',
    "- value: §\n  name: DB_PASSWORD",
    '{"name": "DB_PASSWORD", "value": "§"}',
    '{"value": "§", "name": "DB_PASSWORD"}',
    "ParameterKey=DBPassword,ParameterValue=§",
    'set {\n  name  = "db.password"\n  value = "§"\n}',
    "<password>§</password>",
    "<server><username>ana</username><password>§</password></server>",
    '<add key="ClearTextPassword" value="§"/>',
    '<property name="password" value="§"/>',
    '<property value="§" name="password"/>',
    '<property name="password"><value>§</value></property>',
    '<Resource name="jdbc/x" username="a" password="§" driverClassName="x"/>',
    '<entry key="db.password">§</entry>',
    "<name>fs.s3a.secret.key</name>\n<value>§</value>",
    "<key>password</key><string>§</string>",
    "<password><![CDATA[§]]></password>",
    "environment:\n  - DB_PASSWORD=§\n  - DB_HOST=db",
    "environment:\n  DB_PASSWORD: §\n  DB_HOST: db",
    "[db]\nuser = ana\npassword = §\n",
    "spring.datasource.password=§",
    "ENV DB_PASSWORD §",
    "ARG API_TOKEN=§",
    "RUN setx DB_PASSWORD §",
    "password: |\n  §\nuser: ana",
    "password: >-\n    §",
    "rootPassword: §",
    "clientSecret: §",
    "dbPass: §",
    "accessToken: §",
    "//registry.npmjs.org/:_authToken=§abcdefgh",
    "MYSQL_PASSWORD_PROD=§",
    'private static final String DB_PASS = "§";',
    'const password: string = "§";',
    "self.password: str = '§'",
    "aws configure set aws_secret_access_key §",
]

DOCUMENTS_LEFT = [
    "kind: ConfigMap\ndata:\n  URL: postgres2024\n  modo: x1",
    "kind: Secret\ndata:\n  url: ${URL_B64_1}\n  x: {{ .Values.x1 | b64enc }}",
    "kind: SealedSecret\nspec:\n  encryptedData:\n    url: AgBy8hC",
    "kind: ExternalSecret\nspec:\n  data:\n  - secretKey: url1\n    remoteRef:\n      key: prod/db1",
    "valueFrom:\n  secretKeyRef:\n    name: db-1\n    key: password",
    "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef: {name: db1, key: password}",
    "- name: DB_HOST\n  value: db-2024",
    '{"name": "LOG_LEVEL", "value": "debug2"}',
    "- name: DB_PASSWORD_FILE\n  value: /run/secrets/db1",
    "<username>ana2024</username>",
    '<add key="Timeout" value="3000"/>',
    "<password>${db.password}</password>",
    '<input type="password" name="clave1"/>',
    "client-certificate-data: LS0tLS1CRUdJTi1",
    "ENV APP_HOME /srv/app1",
    "ENV DB_PASSWORD $CLAVE1",
    "volumes:\n- name: secrets-1\n  secret:\n    secretName: db-cred-1",
    "  password:\n    description: la clave 1",
    "auth: enabled\nversion: 1",
    "kind: Secret\ntype: Opaque\nmetadata:\n  name: db-2024",
]

SENTENCES = [
    "clave: §",
    "la clave del wifi es §",
    "la clave es §",
    "contraseña del staging: §",
    "contraseña del usuario root: §",
    "la contraseña de la base de datos es §",
    "la pass de root es §",
    "mi contraseña es §",
    "mi contraseña es «§ azul»".replace(" azul", ""),
    "el token de acceso es §abcdefgh",
    "usuario: ana clave: §",
    "usuario/clave: ana/§",
    "user/pass: admin/§",
    "credenciales: ana/§",
    "the password for staging is §",
    "my password is: §",
    "Usuario ana, contraseña §",
    "entra con usuario ana y contraseña §",
    "la contraseña temporal es §",
    "la nueva clave de acceso es §",
    "la contraseña sigue siendo §",
    "Password (root): §",
    "pass: §",
    "Contraseña de la VPN = §",
]

SENTENCES_LEFT = [
    "la clave es usar un proxy",
    "la clave del éxito es automatizar 2 cosas",
    "la contraseña es obligatoria desde la versión 16",
    "el token es inválido: error 401",
    "¿la contraseña es correcta?",
    "la clave primaria es id_2",
    "clave: valor",
    "clave foránea: pedido_2",
    "la clave foránea es cliente_id2",
    "token: 4096",
    "max_tokens: 4096",
    "la contraseña caduca a los 90 días",
    "¿Cómo cambio la contraseña del usuario 1000?",
    "el password debe tener 12 caracteres",
    "la contraseña es la de siempre, no la 2",
    "clave pública: ed25519",
    "la clave: usar 2 réplicas",
    "Hay 3 tokens: entrada, salida y total",
    "un enclave: zona1",
    "bypass: true1",
]

SQL = [
    "CREATE USER ana WITH PASSWORD '§'",
    "CREATE USER ana PASSWORD '§'",
    "ALTER USER ana ENCRYPTED PASSWORD '§';",
    "create role ana login password '§'",
    "CREATE USER 'ana'@'%' IDENTIFIED BY '§';",
    "CREATE USER ana IDENTIFIED BY §;",
    "GRANT ALL ON *.* TO 'ana'@'%' IDENTIFIED BY PASSWORD '§'",
    "ALTER USER 'r'@'h' IDENTIFIED WITH mysql_native_password BY '§'",
    "CREATE USER c IDENTIFIED WITH sha256_password BY '§'",
    "SET PASSWORD FOR 'ana'@'h' = PASSWORD('§');",
    "SET PASSWORD = '§'",
    "ALTER LOGIN sa WITH PASSWORD = N'§'",
    "CREATE LOGIN ana WITH PASSWORD='§', CHECK_POLICY=OFF",
    "SELECT dblink('host=h user=a password=§ dbname=x', 'select 1')",
    "UPDATE mysql.user SET authentication_string=PASSWORD('§')",
    "UPDATE users SET password = MD5('§') WHERE id = 1",
    "CHANGE MASTER TO MASTER_USER='r', MASTER_PASSWORD='§'",
    "PASSWORD: '§'",
]

SQL_LEFT = [
    "ALTER USER ana PASSWORD EXPIRE 90",
    "SELECT password FROM users WHERE id = 12",
    "users are identified by email1",
    "CREATE USER ana IDENTIFIED BY :clave1",
    "ALTER USER ana WITH PASSWORD '$CLAVE1'",
    "CREATE USER ana IDENTIFIED EXTERNALLY; -- 1",
    "WHERE password IS NULL AND id = 1",
    "ALTER ROLE ana VALID UNTIL '2025-01-01'",
    "CREATE TABLE u (id INT, password VARCHAR(255) NOT NULL)",
    "WHERE password = ? AND id = 1",
    "WHERE user = :user AND password = :password LIMIT 1",
    "IDENTIFIED WITH mysql_native_password y MySQL 8",
]

MARKS = [
    "**Contraseña:** §",
    "**Contraseña**: §",
    "**Contraseña:** `§`",
    "*contraseña*: §",
    "__password__: §",
    "`password`: `§`",
    "| contraseña | § |",
    "| user | password |\n|---|---|\n| ana | § |\n| eva | § |",
    "usuario | clave | rol\n--- | --- | ---\nana | § | admin",
    "+------+----------+\n| user | password |\n+------+----------+\n| ana  | § |\n+------+----------+",
    "contraseña -> §",
    "contraseña => §",
    "contraseña → §",
    "contraseña ⇒ §",
    "contraseña — §",
    "password=&quot;§&quot;",
    "password: &#34;§&#34;",
    "password=&#39;§&#39;",
    "password=&apos;§&apos;",
    '{\\"password\\": \\"§\\"}',
    '"{\\\\\\"password\\\\\\":\\\\\\"§\\\\\\"}"',
    "Contraseña:\n  §",
    "Contraseña:\n§\nGracias",
    "contraseña = = §",
    "contraseña： §",
    "<b>Contraseña:</b> §",
    "- **Password**: §",
    "config['password'] = '§'",
    "'password' => '§',",
    "define('DB_PASSWORD', '§');",
    'props.put("password", "§");',
    "https://x.io/?password=§&b=1",
]

# The whole of a quoted value goes, with its spaces.
WHOLE = {
    "contraseña: “Perro2024 azul secreta”": "contraseña: “[clave]”",
    "contraseña: «Perro2024 azul»": "contraseña: «[clave]»",
    "contraseña: ‘Perro2024 azul’": "contraseña: ‘[clave]’",
    'password: "a\\"b Perro2024"': 'password: "[clave]"',
    "password: 'it\\'s Perro2024'": "password: '[clave]'",
    'password: "it\'s Perro2024"': 'password: "[clave]"',
    'password = "Perro;2024 y más"': 'password = "[clave]"',
    "Pwd=Perro2024;Server=db;Database=x": "Pwd=[clave];Server=db;Database=x",
    "la clave es 'Perro2024'": "la clave es '[clave]'",
    "pin: 1234": "pin: [clave]",
    "el pin es 987654": "el pin es [clave]",
    "PASSWORD=changeme1": "PASSWORD=[clave]",
    "password: Per'ro2024": "password: [clave]",
    "password=Perro&2024": "password=[clave]",
}

REFERENCES_LEFT = [
    "password = module.db.password",
    "secret = module.secret_manager.secret_ids",
    'SLACK_SIGNING_SECRET = "projects/4558/secrets/SlackSigningSecret/versions/latest"',
    "private_key: /etc/ssl/private/sitio1.key",
    "ssl_password = /etc/ssl/clave1.txt",
    "password: file:/run/secrets/db1",
    "existingSecret: postgres-credentials-2024",
    "imagePullSecret: regcred-prod-2024",
    "MasterUserPassword: !Ref DbPassword",
    "password: !Sub '${DbPassword}1'",
    "Password: !GetAtt Secreto.Valor1",
    "MasterUserPassword: '{{resolve:ssm-secure:/db/clave:1}}'",
    "password: arn:aws:secretsmanager:eu-west-1:123456789012:secret:db-AbC123",
    "password: vault:secret/data/db1#password",
    "password: op://boveda/item1/password",
    "password: ref+awsssm://db/clave1",
    "token: ${{ secrets.TOKEN_1 }}",
    "PASSWORD=$(cat /run/clave1)",
    "password=@Microsoft.KeyVault(SecretUri=https://v1.vault.azure.net/secrets/x)",
    "secretName: db-credentials-2024",
    "tokenFile: /var/run/token1",
    "passwordFile: /run/secrets/db1",
    "password_file = /run/secrets/db1",
    "--password-file /run/clave1",
    "admin_password = azurerm_key_vault_secret.db1.value",
    "password = aws_db_instance.x1.password",
    "password = var.db_password1",
    "password = data.aws_ssm_parameter.db1.value",
    "password = local.db_pass1",
    "password = each.value.clave1",
    "password = self.clave1",
    "password = random_password.db1.result",
    "password: process.env.DB_PASS1",
    'password = os.environ["DB_PASS1"]',
    'String password = System.getenv("DB_PASS1");',
    "password = ENV['DB_PASS1']",
    'mysql_password: "{{ vault_db_password1 }}"',
    "password: \"{{ lookup('env','DB_PASS1') }}\"",
    "set PASSWORD=%DB_PASSWORD1%",
    "token: <TU_TOKEN_1>",
    "clave: TU_CLAVE_AQUI # 1",
    "password: your-password-here # 1",
    "token=your_token_here&b=1",
    "api_key: YOUR_API_KEY # 1",
    "password: xxxxxxxx # 1",
    "password: **** # 1",
    "secretKeyRef: {name: db1, key: password}",
    "key: password1",
    "password = get_password(1)".replace("1", "ana"),
    "token = generate_token(user1)",
    "def login(user1, password: str):",
    "password: string; // 1",
    "password: Optional[str] = None  # 1",
    "login(user=user1, password=password)",
    "password = request.form['password1']",
    "password = req.body.password; // 1",
    "secret: db-password # 1",
    "password = getpass.getpass('Clave 1: ')",
    "password: ENC[AES256_GCM,data:abc1]",
    "token: secrets.GITHUB_TOKEN # 1",
    "password = credentials('db-1')",
    "if (!password) return 1;",
]

# (input, output): only the default of a reference goes.
DEFAULTS = [
    "password: ${DB_PASSWORD:§}",
    "password: ${DB_PASSWORD:-§}",
    "spring.datasource.password=${CLAVE_BD:§}",
    "echo ${DB_PASS:-§}",
    "echo ${DB_PASS-§}",
    ": ${API_TOKEN:=§}",
    "DB_PASS = os.getenv('DB_PASS', '§')",
    'os.environ.get("DB_PASSWORD", "§")',
    "const p = process.env.DB_PASSWORD || '§';",
    'const p = process.env.DB_PASSWORD ?? "§";',
    "'password' => env('DB_PASSWORD', '§'),",
    'ENV.fetch("DB_PASSWORD", "§")',
    "ENV['DB_PASSWORD'] || '§'",
    "$_ENV['DB_PASSWORD'] ?? '§'",
    "os.getenv('DB_PASSWORD') or '§'",
    "{{ db_password | default('§') }}",
    '{{ .Values.db.password | default "§" }}',
    'System.getProperty("db.password", "§")',
    'password = process.env.CLAVE || "§"',
    'variable "db_password" {\n  type    = string\n  default = "§"\n}',
]

DEFAULTS_LEFT = [
    "password: ${DB_PASSWORD}",
    "${DB_PASSWORD:?must be set 1}",
    "${DB_PASSWORD:-} y 1",
    "${DB_HOST:-localhost1}",
    "os.getenv('DB_HOST', 'localhost1')",
    "process.env.PORT || '3000'",
    "${DB_PASSWORD:-$OTRA_1}",
    "${DB_PASSWORD:-${OTRA_1}}",
    "env('APP_NAME', 'Tienda2024')",
    "os.getenv('DB_PASSWORD', None)  # 1",
    "config.get('token_url', 'https://x.io/1')",
    "{{ db_host | default('db1') }}",
    'variable "region" {\n  default = "eu-west-1"\n}',
]

GONE = {
    "commands": COMMANDS,
    "documents": DOCUMENTS,
    "sentences": SENTENCES,
    "sql": SQL,
    "marks": MARKS,
    "defaults": DEFAULTS,
}
LEFT = {
    "commands": COMMANDS_LEFT,
    "documents": DOCUMENTS_LEFT,
    "sentences": SENTENCES_LEFT,
    "sql": SQL_LEFT,
    "references": REFERENCES_LEFT,
    "defaults": DEFAULTS_LEFT,
}


@pytest.mark.parametrize("template", [row for rows in GONE.values() for row in rows])
def test_a_secret_goes_and_what_is_around_it_stays(template: str) -> None:
    redacted = redact(template.replace("§", SECRET))
    assert SECRET not in redacted
    # What is glued to the secret in the template (`LS0tLS1§`) belongs to it.
    for piece in template.split("§"):
        for word in piece.split()[1:-1]:
            assert word in redacted


@pytest.mark.parametrize(("text", "expected"), WHOLE.items())
def test_the_whole_value_goes(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", [row for rows in LEFT.values() for row in rows])
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("template", SENTENCES + MARKS)
def test_accents_of_their_own_change_nothing(template: str) -> None:
    assert SECRET not in redact(unicodedata.normalize("NFD", template.replace("§", SECRET)))


def test_an_accent_goes_with_its_letter() -> None:
    assert redact(unicodedata.normalize("NFD", "la contraseña: perro2é, sí")) == unicodedata.normalize(
        "NFD", "la contraseña: [clave], sí"
    )


OWN = {"R3", "R3b", "R5", "R6", "R7", "R8", "R12", "R13", "R14"}
CASES = [json.loads(line) for line in (HERE / "cases.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case["kind"].split()[0] in OWN], ids=lambda c: c["contenido"][:30]
)
def test_the_public_reports(case: dict[str, str]) -> None:
    redacted = redact(case["contenido"])
    if "debe_desaparecer" in case:
        assert case["debe_desaparecer"] not in redacted
    else:
        assert redacted == case["contenido"]


def _lines(name: str) -> list[str]:
    """One text a line, with `⏎` for a line break inside it."""
    return [line.replace("⏎", "\n") for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("text", _lines("announced_gone.txt"))
def test_more_secrets_go(text: str) -> None:
    assert "ro24" not in redact(text)


@pytest.mark.parametrize("text", _lines("announced_left.txt"))
def test_more_references_and_sentences_stay(text: str) -> None:
    assert redact(text) == text


def test_no_finder_runs_where_none_of_the_hints_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that their conditions look for, but for the hints, in one text; none asks that something be missing."""
    looked_for = [const for const in announced._announced.__code__.co_consts if isinstance(const, str)]
    hintless = "\0".join(literal for literal in looked_for if announced._HINT(literal.lower()) is None)
    assert len(hintless) > 100 and announced._HINT(hintless.lower()) is None
    for name in [name for name in vars(announced) if name.startswith("find_") and name != "find_secrets"]:
        monkeypatch.setattr(announced, name, lambda *_, name=name: [(0, 1, name)])
    assert list(announced._announced(hintless, hintless.lower(), 0)) == []
    assert list(announced._announced("password=x", "password=x", 0)) != []


LABELS = (
    *("passwords", "passwd", "passphrase", "passwort", "pass", "pwd", "psw", "pw", "contraseñas", "contrasenyas"),
    *("bindpw", "requirepass", "senha", "frase de paso", "clave", "contra", "secreto", "secret", "token"),
    *(f"{kind}_key" for kind in labels._KEYS.replace("(?:ion)?", "ion").split()),
    *("auth_salt", "logged_in_salt", "nonce_salt", "psk", "secret_access_key", "credential", "client-key-data"),
    *("dockerconfigjson", "dockercfg", "api key", "pin", "nip", "otp", "credencial"),
)


@pytest.mark.parametrize("label", LABELS)
def test_a_hint_stands_in_each_label(label: str) -> None:
    """So that labels are searched for from the first hint on, less the length of the longest."""
    hint = announced._HINT(label)
    assert hint is not None
    assert hint.start() <= len(label) <= labels.LONGEST


@pytest.mark.parametrize("between", [0, 1, 2, *range(18, 30), 200])
@pytest.mark.parametrize("label", ["sig", "logged_in_salt", "secret-access-key", "contraseña", "encryption.key"])
def test_a_label_is_found_wherever_it_stands(label: str, between: int) -> None:
    secret = "Perro2024" * 3
    text = f"{' ' * between}{label}: {secret}{' ' * between} y un token"
    assert redact(text) == text.replace(secret, "[clave]")
