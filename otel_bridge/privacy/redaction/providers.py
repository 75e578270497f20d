"""Keys of providers that are recognised by their own format: a table of formats, and one finder made of it.

To add a format, add a row to `FORMATS` where the alphabet puts it. That is all: the finder is built from the
table, and tests/redaction/test_providers.py makes its samples from the rows, for a new one too. In a row:

- `prefixes`: the literal beginnings, separated by spaces, each with a letter or a digit first. A row without one is
  a shape alone: let it begin with a class without a repeat, which is what the regex engine passes over quickly.
- `alphabet`: what the rest is made of, as the inside of a character class; one of the names below.
- `least`, `most`: how long the rest is. `most=None` takes as much as follows: right for a prefix that nothing
  else uses. There `least` may lie under the provider's length: keys are cut in logs, and lengths grow. A prefix
  that could begin a word, a name or a hash needs both, and is then taken at this length only.
- `shape`: in place of the three above, a pattern for a rest of several parts. Its repeats are bounded or the last
  thing in it, so that the work stays linear; possessive (`{8,}+`) where nothing after them can need a character back.
- `before`: a pattern of fixed length, where the literal stands in the middle of a key instead of at its beginning.
- `source`: where the format was read.

A match that reads as words is left alone, whatever its format: see `_WORDS`.

Not here, since nothing tells them from a hash or an id: keys that are only hexadecimal, UUIDs or letters (Datadog,
Heroku before 2024, Okta, Mistral, Codecov, the secret half of AWS). Those need a label (`announced.py`). Nor keys
that their provider calls public: `pk_live_`, `pk-lf-`, `phc_`, `pk.eyJ`, an account id of Twilio (AC...), an ARN.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from otel_bridge.privacy.redaction.alternatives import tree
from otel_bridge.privacy.redaction.findings import Finding

HEX = "0-9a-fA-F"
UPPER = "A-Z0-9"
LOWER = "a-z0-9"
ALNUM = "A-Za-z0-9"
WORD = "A-Za-z0-9_"
URL64 = "A-Za-z0-9_-"
"""base64 as in URLs."""
BASE64 = "A-Za-z0-9+/="
MIXED64 = "A-Za-z0-9+/=_-"
"""Either base64."""
DOTTED = "A-Za-z0-9_.=-"
"""Parts with dots between them; a dot at the end is the sentence's."""

_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

# Where a format was read. A domain names the provider itself: none of these projects has a rule for it, or none as
# wide. Those rows are the least certain; check them there before making one stricter.
BETTERLEAKS = "betterleaks/betterleaks config/betterleaks.toml"
GITLEAKS = "gitleaks/gitleaks config/gitleaks.toml"
KINGFISHER = "mongodb/kingfisher data/rules"
MICROSOFT = "microsoft/security-utilities GeneratedRegexPatterns"
NOSEYPARKER = "praetorian-inc/noseyparker rules"
TRUFFLEHOG = "trufflesecurity/trufflehog pkg/detectors"


class Format(NamedTuple):
    """How the keys of a provider look."""

    provider: str
    prefixes: str
    alphabet: str = ""
    least: int = 0
    most: int | None = None
    shape: str = ""
    before: str = ""
    source: str = ""


FORMATS: tuple[Format, ...] = (
    Format(
        "1Password, secret key",
        "A3-",
        shape=r"[A-Z0-9]{6}-[A-Z0-9]{6}-?[A-Z0-9]{5}(?:-[A-Z0-9]{5}){3}",
        source=GITLEAKS,
    ),
    Format("1Password, service account", "ops_", BASE64, 60, source=GITLEAKS),
    Format("Adafruit IO", "aio_", ALNUM, 26, source=TRUFFLEHOG),
    Format("Adobe", "p8e-", URL64, 32, 32, source=GITLEAKS),
    Format("age", "AGE-SECRET-KEY-1", UPPER, 20, source=GITLEAKS),
    Format("Aikido", "AIK_CI_ AIK_SECRET_", ALNUM, 20, source=BETTERLEAKS),
    Format("Airtable", "pat", shape=r"[A-Za-z0-9]{14}\.[A-Za-z0-9]{60,}+", source=GITLEAKS),
    Format("Aiven", "AVNS_", URL64, 15, source="aiven.io/docs"),
    Format("Alibaba Cloud", "LTAI", ALNUM, 12, 26, source=TRUFFLEHOG),
    Format("Alibaba Cloud, STS", "STS.", ALNUM, 16, 64, source=BETTERLEAKS),
    Format("Anthropic", "sk-ant-", URL64, 16, source=GITLEAKS),
    Format("Anyscale", "esecret_", ALNUM, 20, source="docs.anyscale.com"),
    Format("Apify", "apify_api_", ALNUM, 24, source=TRUFFLEHOG),
    Format("Artifactory", "AKCp", ALNUM, 60, source=GITLEAKS),
    Format("Artifactory, reference token", "cmVmd", ALNUM, 50, source=GITLEAKS),
    Format("Asaas", "aact_", URL64, 20, source=BETTERLEAKS),
    Format("Asana", "", shape=r"[0-2]/[0-9]{14,17}+(?:/[0-9]{14,17}+)?:[0-9a-f]{32}", source="developers.asana.com"),
    Format("Atlassian", "ATATT ATCTT", MIXED64, 20, source=GITLEAKS),
    Format("AWS, access key", "AKIA ASIA ABIA ACCA", UPPER, 16, 16, source=GITLEAKS),
    Format("AWS, access key, old", "A3T", UPPER, 17, 17, source=GITLEAKS),
    Format("AWS, AppSync", "da2-", LOWER, 26, 26, source=TRUFFLEHOG),
    Format("AWS, Bedrock", "ABSK", BASE64, 80, source=GITLEAKS),
    Format("AWS, Bedrock, short-lived", "bedrock-api-key-", BASE64, 20, source=GITLEAKS),
    Format("Azure DevOps", "AZDO", ALNUM, 4, 4, before=r"[A-Za-z0-9]{76}", source="learn.microsoft.com"),
    Format("Azure Functions", "AzFu", before=r"[A-Za-z0-9_-]{44}", shape=r"[A-Za-z0-9_-]{5,6}={0,2}", source=MICROSOFT),
    Format(
        "Azure, client secret",
        "Q~",
        before=r"[A-Za-z0-9_~.-]{3}[0-9]",
        shape=r"[A-Za-z0-9_~.-]{30,34}(?<!\.)(?![A-Za-z0-9_~-])",
        source=MICROSOFT,
    ),
    Format(
        "Azure, keys of 32 bytes",
        "+ARm +AEh +ASb /AM7 AIoT AzCa AZEG",
        before=r"[A-Za-z0-9+/]{33}",
        shape=r"[A-Za-z0-9+/]{6}=",
        source=MICROSOFT,
    ),
    Format(
        "Azure, keys of 39 bytes",
        "+ACR +SQL AzSe",
        before=r"[A-Za-z0-9+/]{42}",
        shape=r"[A-Za-z0-9+/]{6}(?![A-Za-z0-9+/])",
        source=MICROSOFT,
    ),
    Format(
        "Azure, keys of 64 bytes",
        "+ASt +ABa +AMC ACDb APIM",
        before=r"[A-Za-z0-9+/]{76}",
        shape=r"[A-Za-z0-9+/]{6}==",
        source=MICROSOFT,
    ),
    Format(
        "Azure, keys since 2024",
        "JQQJ99 JQQJ9D JQQJ9H",
        before=r"[A-Za-z0-9]{52}",
        shape=r"[A-Za-z0-9]{26,}+(?:==)?",
        source=MICROSOFT,
    ),
    Format("Baidu Cloud", "bce-v3/ALTAK-", shape=r"[A-Za-z0-9]{16,40}+/[0-9a-f]{32,}+", source="cloud.baidu.com/doc"),
    Format("Bitbucket", "ATBB", MIXED64, 20, source=TRUFFLEHOG),
    Format("Bitbucket, HTTP token", "BBDC-", "A-Za-z0-9+/@_-", 36, source=TRUFFLEHOG),
    Format(
        "Braintree",
        "access_token$production$ access_token$sandbox$",
        shape=r"[a-z0-9]{16}\$[0-9a-f]{32}",
        source="developer.paypal.com/braintree",
    ),
    Format("Braintrust", "bt-st-", ALNUM, 32, source=TRUFFLEHOG),
    Format("Brave Search", "BSA", URL64, 24, 40, source=BETTERLEAKS),
    Format("Brevo (Sendinblue)", "xkeysib- xsmtpsib-", URL64, 40, source=GITLEAKS),
    Format("Browserbase", "bb_live_ bb_test_", URL64, 20, source="docs.browserbase.com"),
    Format("Buildkite", "bkua_ bkaa_ bkaj_ bkar_ bkct_ bkpt_ bkpat_ bkps_", URL64, 30, source=BETTERLEAKS),
    Format("Canva", "cnvca", URL64, 45, source=BETTERLEAKS),
    Format("Cerebras", "csk-", ALNUM, 30, source=BETTERLEAKS),
    Format("CircleCI", "CCIPAT_ CCIPRJ_", WORD, 30, source=TRUFFLEHOG),
    Format("ClickHouse Cloud", "4b1d", ALNUM, 38, 38, source=GITLEAKS),
    Format("ClickUp", "pk_", shape=r"[0-9]{7,9}_[0-9A-Z]{32}", source=KINGFISHER),
    Format("Clojars", "CLOJARS_", ALNUM, 40, source=GITLEAKS),
    Format("Cloudflare", "cfut_ cfat_ cfk_", ALNUM, 32, source=TRUFFLEHOG),
    Format("Cloudflare, origin CA", "v1.0-", shape=r"[0-9a-f]{24}-[0-9a-f]{100,}+", source=GITLEAKS),
    Format("Cloudsmith", "csa_", ALNUM, 36, 36, source=BETTERLEAKS),
    Format("CockroachDB Cloud", "CCDB1_", WORD, 40, source=BETTERLEAKS),
    Format("ConfigCat", "configcat-sdk-1/", shape=r"[A-Za-z0-9_-]{22}/[A-Za-z0-9_-]{22}", source=BETTERLEAKS),
    Format("Contentful", "CFPAT-", URL64, 30, source=TRUFFLEHOG),
    Format("crates.io", "cio", ALNUM, 32, 32, source=KINGFISHER),
    Format("Cursor", "key_", HEX, 64, 64, source=BETTERLEAKS),
    Format("Databento", "db-", ALNUM, 29, 29, source=BETTERLEAKS),
    Format("Databricks", "dapi", shape=r"[0-9a-f]{32,}+(?:-[0-9])?", source=GITLEAKS),
    Format("Datadog", "ddp_ ddw_", ALNUM, 34, source=TRUFFLEHOG),
    Format("DataStax", "AstraCS:", shape=r"[A-Za-z0-9]{20,}+(?::[0-9a-f]{32,}+)?", source=BETTERLEAKS),
    Format("dbt", "dbtc_ dbtu_", MIXED64, 30, source="docs.getdbt.com"),
    Format("Deno Deploy", "ddp_", ALNUM, 34, source=BETTERLEAKS),
    Format("Dependency-Track", "odt_", ALNUM, 30, source=KINGFISHER),
    Format("DevCycle", "dvc_server_", ALNUM, 16, source=BETTERLEAKS),
    Format("Devin", "apk_user_ apk_", BASE64, 70, source=BETTERLEAKS),
    Format("Devin, service user", "cog_", LOWER, 52, 52, source=BETTERLEAKS),
    Format("DigitalOcean", "dop_v1_ doo_v1_ dor_v1_", ALNUM, 32, source=GITLEAKS),
    Format(
        "Discord, bot",
        "M N O",
        shape=r"[A-Za-z0-9_-]{22,27}+\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}+",
        source=KINGFISHER,
    ),
    Format("Discord, user", "mfa.", URL64, 60, source="discord.com/developers/docs"),
    Format(
        "Discord, webhook",
        "discord.com/api/webhooks/ discordapp.com/api/webhooks/",
        shape=r"[0-9]{1,24}+/[A-Za-z0-9_-]{20,}+",
        source=TRUFFLEHOG,
    ),
    Format("Docker Hub", "dckr_pat_ dckr_oat_", URL64, 20, source=TRUFFLEHOG),
    Format("Docker Swarm", "SWMTKN-1- SWMKEY-1-", "A-Za-z0-9+/-", 36, source=BETTERLEAKS),
    Format("Doppler", "dp.", shape=r"[a-z]{2,6}\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9_-]{30,}+", source=TRUFFLEHOG),
    Format("Dropbox", "sl.", DOTTED, 100, source=KINGFISHER),
    Format("Duffel", "duffel_test_ duffel_live_", MIXED64, 30, source=GITLEAKS),
    Format(
        "Dynatrace",
        "dt0c01. dt0s01. dt0s02. dt0s03. dt0s16. dt0e01. dt0a01.",
        shape=r"[A-Za-z0-9]{8,24}+\.[A-Za-z0-9]{40,}+",
        source=GITLEAKS,
    ),
    Format("E2B", "e2b_ sk_e2b_", ALNUM, 36, source="e2b.dev/docs"),
    Format("EasyPost", "EZAK EZTK", ALNUM, 40, source=GITLEAKS),
    Format("Elastic Cloud", "essu_", MIXED64, 40, source=BETTERLEAKS),
    Format("ElevenLabs", "sk_", HEX, 40, source=KINGFISHER),
    Format("Endor Labs", "endr+", "A-Za-z0-9-", 16, source=TRUFFLEHOG),
    Format("Exoscale", "EXO", ALNUM, 24, 30, source=BETTERLEAKS),
    Format("Facebook", "EAA", ALNUM, 80, source=GITLEAKS),
    Format("Facebook, app", "", shape=r"[0-9][0-9]{14,15}(?:\||%7C)[A-Za-z0-9_-]{27,40}+", source=GITLEAKS),
    Format(
        "Feishu, webhook",
        "open.feishu.cn/open-apis/bot/v2/hook/ open.larksuite.com/open-apis/bot/v2/hook/",
        "0-9a-f-",
        30,
        source="open.feishu.cn/document",
    ),
    Format("Figma", "figd_ figp_ figo_ figor_ figu_ figur_", MIXED64, 20, source=TRUFFLEHOG),
    Format(
        "Firebase Cloud Messaging",
        "AAAA",
        shape=r"[A-Za-z0-9_-]{7}:[A-Za-z0-9_-]{100,}+",
        source="firebase.google.com/docs",
    ),
    Format("Firecrawl", "fc-", HEX, 32, 32, source="docs.firecrawl.dev"),
    Format("Fireworks", "fw_", ALNUM, 20, source="docs.fireworks.ai"),
    Format("Fleetbase", "flb_live_ flb_test_", ALNUM, 18, source=TRUFFLEHOG),
    Format("Flexport", "shltm_", URL64, 30, source=TRUFFLEHOG),
    Format("Flutterwave", "FLWSECK- FLWSECK_TEST- FLWSECK_TEST", ALNUM, 12, source=GITLEAKS),
    Format("Fly.io", "fo1_", URL64, 30, source=GITLEAKS),
    Format("Fly.io, macaroon", "fm1a_ fm1r_ fm2_", "A-Za-z0-9+/=,_-", 60, source=GITLEAKS),
    Format("Frame.io", "fio-u-", MIXED64, 40, source=GITLEAKS),
    Format("FullStory", "na1. eu1.", BASE64, 60, source=TRUFFLEHOG),
    Format("GitHub", "ghp_ gho_ ghu_ ghr_", WORD, 20, source=GITLEAKS),
    Format("GitHub, app installation", "ghs_", DOTTED, 20, source="docs.github.com"),
    Format("GitHub, fine-grained", "github_pat_", WORD, 20, source=GITLEAKS),
    Format(
        "GitLab",
        "glpat- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct- glwt-",
        DOTTED,
        15,
        source="docs.gitlab.com/security/tokens",
    ),
    Format("GitLab, runner registration", "GR1348941", URL64, 16, source=GITLEAKS),
    Format("GitLab, session", "gitlab_session=", ALNUM, 20, source=GITLEAKS),
    Format("Gitpod", "gitpod_", DOTTED, 30, source="gitpod.io/docs"),
    Format("Google, API key", "AIza", URL64, 33, source=GITLEAKS),
    Format("Google, Gemini", "AQ.Ab", URL64, 30, source=BETTERLEAKS),
    Format("Google, OAuth client", "GOCSPX-", URL64, 20, source=KINGFISHER),
    Format("Google, OAuth token", "ya29.", DOTTED, 20, source=KINGFISHER),
    Format("Google, refresh token", "1//0", URL64, 40, source=NOSEYPARKER),
    Format("Google, storage", "GOOG1E", UPPER, 40, source="cloud.google.com/storage/docs"),
    Format("Grafana", "eyJrIjoi", BASE64, 40, source=GITLEAKS),
    Format("Grafana Cloud", "glc_ glsa_", MIXED64, 20, source=GITLEAKS),
    Format("Groq", "gsk_", URL64, 24, source=TRUFFLEHOG),
    Format("Harness", "pat. sat.", shape=r"[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}", source=GITLEAKS),
    Format("HashiCorp Terraform", ".atlasv1.", MIXED64, 50, before=r"[A-Za-z0-9]{14}", source=GITLEAKS),
    Format("HashiCorp Vault", "hvs. hvb. hvr.", DOTTED, 20, source=GITLEAKS),
    Format("Heroku", "HRKU-", URL64, 30, source=GITLEAKS),
    Format("Honeycomb", "hc", shape=r"[a-z][a-z][ck]_[A-Za-z0-9]{40,}+", source="docs.honeycomb.io"),
    Format("HubSpot", "pat-na1- pat-na2- pat-eu1- pat-ap1-", "0-9a-fA-F-", 36, source=TRUFFLEHOG),
    Format("Hugging Face", "hf_ api_org_", ALNUM, 20, source=GITLEAKS),
    Format("Infracost", "ico-", ALNUM, 28, source=GITLEAKS),
    Format("Instagram", "IGQV IGQW IGAA", URL64, 80, source=NOSEYPARKER),
    Format("Intercom", "dG9rO", BASE64, 50, source="developers.intercom.com"),
    Format("Intra 42", "s-s4t2ud- s-s4t2af-", HEX, 50, source=GITLEAKS),
    Format("Ionic", "ion_", ALNUM, 42, 42, source=KINGFISHER),
    Format(
        "JetBrains",
        "perm: perm-",
        shape=r"[A-Za-z0-9+/=_-]{2,64}+\.[A-Za-z0-9+/=_-]{2,64}+\.[A-Za-z0-9+/=_-]{20,}+",
        source="jetbrains.com/help/hub",
    ),
    Format("Jina AI", "jina_", URL64, 40, source="jina.ai"),
    Format("Langfuse", "sk-lf-", URL64, 16, source="langfuse.com/docs"),
    Format("LangSmith", "lsv2_pt_ lsv2_sk_ ls__", WORD, 30, source=TRUFFLEHOG),
    Format("LaunchDarkly", "api- sdk-", shape=_UUID, source=TRUFFLEHOG),
    Format("Lichess", "lip_", WORD, 16, 60, source=BETTERLEAKS),
    Format("Linear", "lin_api_ lin_oauth_ lin_wh_", ALNUM, 28, source=GITLEAKS),
    Format("LlamaCloud", "llx-", ALNUM, 30, source="docs.cloud.llamaindex.ai"),
    Format("Lob", "live_ test_", HEX, 35, 35, source=TRUFFLEHOG),
    Format("Logfire", "pylf_v1_", WORD, 30, source="logfire.pydantic.dev/docs"),
    Format("Mailchimp", "-us", "0-9", 1, 2, before=r"[0-9a-f]{32}", source=TRUFFLEHOG),
    Format("Mailchimp Transactional", "md-", URL64, 22, 22, source="mailchimp.com/developer"),
    Format("MailerSend", "mlsn.", ALNUM, 30, source=BETTERLEAKS),
    Format("Mailgun", "key-", LOWER, 32, source=TRUFFLEHOG),
    Format(
        "Mailgun, since 2018",
        "",
        shape=r"[0-9a-f][0-9a-f]{31}-[0-9a-f]{8}-[0-9a-f]{8}(?![A-Za-z0-9-])",
        source=TRUFFLEHOG,
    ),
    Format("Mapbox", "sk.eyJ tk.eyJ", DOTTED, 40, source=TRUFFLEHOG),
    Format("MaxMind", "_mmk", before=r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}", shape=r"(?![A-Za-z0-9])", source=GITLEAKS),
    Format("Mercury", "mercury_production_ mercury_sandbox_", WORD, 30, source=BETTERLEAKS),
    Format("Mergify", "mergify_application_key_", URL64, 30, source=BETTERLEAKS),
    Format(
        "Microsoft Teams, webhook",
        "webhook.office.com/webhookb2/ outlook.office.com/webhook/",
        "A-Za-z0-9/@_-",
        60,
        source=GITLEAKS,
    ),
    Format("Midtrans", "Mid-server-", URL64, 14, source=BETTERLEAKS),
    Format("MongoDB Atlas", "mdb_sa_sk_", URL64, 30, source=KINGFISHER),
    Format("Neon", "napi_", ALNUM, 40, source=BETTERLEAKS),
    Format("Netlify", "nfp_ nfc_ nfo_ nfu_", ALNUM, 30, source="docs.netlify.com"),
    Format("New Relic", "NRAK- NRJS- NRII- NRIQ- NRBR- NRAA- NRRA- NRSP- NRMA-", URL64, 16, source=TRUFFLEHOG),
    Format("New Relic, license", "FFFFNRAL", before=r"[a-z0-9]{32}", shape=r"(?![A-Za-z0-9])", source=TRUFFLEHOG),
    Format("Nightfall", "NF-", ALNUM, 32, 32, source=TRUFFLEHOG),
    Format("Notion", "ntn_", ALNUM, 30, source=GITLEAKS),
    Format("Notion, before 2024", "secret_", ALNUM, 43, 43, source=TRUFFLEHOG),
    Format("npm", "npm_", ALNUM, 30, source=GITLEAKS),
    Format("NuGet", "oy2 OY2", ALNUM, 43, 43, source=MICROSOFT),
    Format("NVIDIA", "nvapi-", URL64, 24, source=TRUFFLEHOG),
    Format("Nylas", "nyk_v0_ nyk_v1_ nyk_", ALNUM, 30, source="developer.nylas.com"),
    Format("Octopus Deploy", "API-", UPPER, 25, 34, source=GITLEAKS),
    Format("OneSignal", "os_v2_app_ os_v2_org_", ALNUM, 60, source=BETTERLEAKS),
    Format(
        "Onfido",
        "api_live. api_live_ca. api_live_us. api_sandbox. api_sandbox_ca. api_sandbox_us.",
        DOTTED,
        20,
        source=BETTERLEAKS,
    ),
    # Also DeepSeek, Kimi, LiteLLM, Stability AI and others who took the prefix over.
    Format("OpenAI, and alike", "sk-", URL64, 40, source=BETTERLEAKS),
    Format("OpenAI, and alike", "sk-", ALNUM, 20, source=TRUFFLEHOG),
    Format("OpenAI, projects", "sk-proj- sk-svcacct- sk-service- sk-admin- sk-None-", URL64, 16, source=GITLEAKS),
    Format("OpenRouter", "sk-or-", URL64, 16, source=TRUFFLEHOG),
    Format("OpenShift", "sha256~", URL64, 36, source=GITLEAKS),
    Format("Ory", "ory_at_ ory_rt_ ory_pat_ ory_st_ ory_ac_ ory_wak_ ory_apikey_", DOTTED, 24, source="ory.com/docs"),
    Format("Paddle", "pdl_live_apikey_ pdl_sdbx_apikey_", WORD, 30, source=BETTERLEAKS),
    Format("Pagar.me", "ak_live_ ak_test_", ALNUM, 24, source=TRUFFLEHOG),
    Format("PayPal", "A21AA", URL64, 60, source="developer.paypal.com"),
    Format("Perplexity", "pplx-", URL64, 24, source=GITLEAKS),
    Format("Persona", "persona_production_ persona_sandbox_", URL64, 20, source=BETTERLEAKS),
    Format("pganalyze", "pgar_", ALNUM, 24, source=TRUFFLEHOG),
    Format("Pinecone", "pcsk_", WORD, 40, source=TRUFFLEHOG),
    Format("Pinterest", "pina_", URL64, 24, source=BETTERLEAKS),
    Format("Plaid", "access-production- access-sandbox- access-development-", shape=_UUID, source="plaid.com/docs"),
    Format("PlanetScale", "pscale_tkn_ pscale_pw_ pscale_oauth_", DOTTED, 26, source=GITLEAKS),
    Format("Polar", "polar_at_ polar_oat_ polar_pat_ polar_ci_ polar_cs_", URL64, 20, source=BETTERLEAKS),
    Format("PostHog", "phx_ phs_", URL64, 30, source=TRUFFLEHOG),
    Format("Postman", "PMAK-", "A-Za-z0-9-", 30, source=GITLEAKS),
    Format("Postman, collection", "PMAT-", ALNUM, 24, source="learning.postman.com"),
    Format("Prefect", "pnu_ pnb_", ALNUM, 30, source=GITLEAKS),
    Format("PubNub, secret key", "sec-c-", MIXED64, 30, source="pubnub.com/docs"),
    Format("Pulumi", "pul-", ALNUM, 36, source=GITLEAKS),
    Format("PyPI", "pypi-", URL64, 40, source=GITLEAKS),
    Format("Ramp", "ramp_sec_", ALNUM, 30, source=TRUFFLEHOG),
    Format("Razorpay", "rzp_live_ rzp_test_", ALNUM, 14, source=TRUFFLEHOG),
    Format("ReadMe", "rdme_", ALNUM, 40, source=GITLEAKS),
    Format("Red Hat", "rh-api-", shape=_UUID, source=TRUFFLEHOG),
    Format("Render", "rnd_", ALNUM, 24, source=BETTERLEAKS),
    Format("Replicate", "r8_", URL64, 24, source=TRUFFLEHOG),
    Format("Resend", "re_", shape=r"[A-Za-z0-9]{8}_[A-Za-z0-9]{20,}+", source="resend.com/docs"),
    Format("Rootly", "rootly_", HEX, 48, source=TRUFFLEHOG),
    Format("RubyGems", "rubygems_", ALNUM, 40, source=GITLEAKS),
    Format("RunPod, redirect.pizza", "rpa_", ALNUM, 28, source=BETTERLEAKS),
    Format("Salad Cloud", "salad_cloud_", WORD, 20, source=TRUFFLEHOG),
    Format("Salesforce", "00", shape=r"[A-Za-z0-9]{13}![A-Za-z0-9._-]{79,260}(?<!\.)", source=TRUFFLEHOG),
    Format("Salesforce, refresh token", "5AEP861", DOTTED, 60, source=TRUFFLEHOG),
    Format("Samsara", "samsara_api_", ALNUM, 24, source=BETTERLEAKS),
    Format("Scaleway", "SCW", UPPER, 17, 17, source="scaleway.com/en/docs"),
    Format("Scalingo", "tk-us-", URL64, 48, 48, source=GITLEAKS),
    Format("SendGrid", "SG.", shape=r"[A-Za-z0-9_-]{16,64}+\.[A-Za-z0-9_-]{16,}+", source=GITLEAKS),
    Format("Sentry", "sntrys_", MIXED64, 20, source=GITLEAKS),
    Format("Sentry, user", "sntryu_ sntrya_ sntryi_", ALNUM, 20, source=GITLEAKS),
    Format("SettleMint", "sm_aat_ sm_pat_ sm_sat_", ALNUM, 14, source=GITLEAKS),
    Format("Shippo", "shippo_live_ shippo_test_", ALNUM, 30, source=GITLEAKS),
    Format("Shopify", "shpat_ shpss_ shpca_ shppa_ shpua_ shprt_", ALNUM, 30, source=GITLEAKS),
    Format("Slack", "xox", shape=r"[a-z](?:\.xox[a-z])?-[A-Za-z0-9+/%=-]{10,}+", source=GITLEAKS),
    Format("Slack, app", "xapp- xwfp-", "A-Za-z0-9-", 20, source=GITLEAKS),
    Format(
        "Slack, webhook",
        "hooks.slack.com/services/ hooks.slack.com/workflows/ hooks.slack.com/triggers/",
        "A-Za-z0-9_+/",
        20,
        source=GITLEAKS,
    ),
    Format("Snyk", "snyk_uat. snyk_sat.", DOTTED, 20, source="docs.snyk.io"),
    Format("SonarQube", "squ_ sqp_ sqa_ sqb_ sqco_", ALNUM, 30, source=KINGFISHER),
    Format("Sourcegraph, Segment", "sgp_ slk_", WORD, 40, source=GITLEAKS),
    Format("Spectral", "spu-", ALNUM, 28, source=TRUFFLEHOG),
    Format("Square", "sq0", shape=r"[a-z]{3}-[A-Za-z0-9_-]{22,}+", source=TRUFFLEHOG),
    Format("Square", "EAAA", URL64, 56, source=GITLEAKS),
    Format("StackHawk", "hawk.", shape=r"[A-Za-z0-9_-]{20}\.[A-Za-z0-9_-]{20}", source=KINGFISHER),
    # Also Clerk, Paystack, WorkOS and others who took the prefix over.
    Format("Stripe, and alike", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_", WORD, 10, source=GITLEAKS),
    Format("Stripe, webhook", "whsec_", MIXED64, 10, source="docs.stripe.com"),
    Format("Supabase", "sbp_ sb_secret_", URL64, 26, source=BETTERLEAKS),
    Format("Tableau", "==:", ALNUM, 32, 32, before=r"[A-Za-z0-9+/]{22}", source=TRUFFLEHOG),
    Format("Tailscale", "tskey-", "A-Za-z0-9-", 20, source=KINGFISHER),
    Format("Tavily", "tvly-", URL64, 24, source="docs.tavily.com"),
    Format("Telegram", "", shape=r"[0-9][0-9]{7,9}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])", source=TRUFFLEHOG),
    Format("Telegram, in a URL", "bot", shape=r"[0-9]{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])", source=TRUFFLEHOG),
    Format("Tencent Cloud", "AKID", ALNUM, 32, 36, source="cloud.tencent.com/document"),
    Format("Thunderstore", "tss_", URL64, 24, 80, source=BETTERLEAKS),
    Format("Tines, webhook", "tines.com/webhook/", shape=r"[a-z0-9]{32}/[a-z0-9]{32}", source=TRUFFLEHOG),
    Format("Together AI", "tgp_v1_", URL64, 30, source=BETTERLEAKS),
    Format("Trello", "ATTA", HEX, 56, source="developer.atlassian.com"),
    Format("Twilio", "SK", HEX, 32, source=GITLEAKS),
    Format("Twitter", "A" * 21, "A-Za-z0-9%", 50, source="developer.x.com"),
    Format("Typeform", "tfp_", URL64, 30, source=TRUFFLEHOG),
    Format("Ubidots", "BBFF- BBUS-", ALNUM, 26, source=TRUFFLEHOG),
    Format("Unkey", "unkey_", ALNUM, 20, source=BETTERLEAKS),
    Format("UpCloud", "ucat_", ALNUM, 22, source=BETTERLEAKS),
    Format("Val Town", "vtwn_", URL64, 20, source=BETTERLEAKS),
    Format("Vercel", "vcp_ vci_ vca_ vcr_ vck_", URL64, 30, source=BETTERLEAKS),
    Format("Voiceflow", "VF. VF.DM. VF.WS.", shape=r"[0-9a-fA-F]{24}\.[A-Za-z0-9]{16}", source=KINGFISHER),
    Format("Volcengine", "AKLT", ALNUM, 40, 60, source="volcengine.com/docs"),
    Format("Voyage AI", "pa-", URL64, 43, 43, source="docs.voyageai.com"),
    Format("WakaTime", "waka_", "A-Za-z0-9-", 32, source=BETTERLEAKS),
    Format(
        "WeCom, webhook",
        "qyapi.weixin.qq.com/cgi-bin/webhook/send?key=",
        "0-9a-f-",
        30,
        source="developer.work.weixin.qq.com",
    ),
    Format("Weights & Biases", "wandb_v1_", WORD, 40, source=BETTERLEAKS),
    Format("WooCommerce", "cs_ ck_", HEX, 40, source="woocommerce.github.io"),
    Format("xAI", "xai-", URL64, 24, source=TRUFFLEHOG),
    Format("Yandex, API key", "AQVN", URL64, 35, 38, source=GITLEAKS),
    Format("Yandex, IAM", "t1.", shape=r"[A-Za-z0-9_-]{1,200}+={0,2}\.[A-Za-z0-9_-]{80,}+={0,2}", source=GITLEAKS),
    Format("Yandex, OAuth", "y0_", URL64, 40, source="yandex.cloud/docs"),
    Format("Yandex, static key", "YC", URL64, 38, 38, source=GITLEAKS),
    Format("Zapier, webhook", "hooks.zapier.com/hooks/catch/", "A-Za-z0-9/", 12, source=TRUFFLEHOG),
    Format("Zoho", "1000.", shape=r"[0-9a-f]{32}\.[0-9a-f]{32}", source=TRUFFLEHOG),
    Format("Zuplo", "zpka_", WORD, 32, source=BETTERLEAKS),
)


def _rest(row: Format) -> str:
    """The pattern of what follows the prefix."""
    if row.shape:
        return row.shape
    inside = row.alphabet
    if row.most is not None:
        return f"[{inside}]{{{row.least},{row.most}}}+(?![A-Za-z0-9{inside}])"
    if inside == DOTTED:
        parts = inside.replace(".", "")
        return rf"(?=[{inside}]{{{row.least}}})[{parts}]++(?:\.[{parts}]++)*+"
    return f"[{inside}]{{{row.least},}}+"


_SHORTEST = 15
"""No key of the table is shorter, with its prefix: most words need no search."""
_SHORTEST_MARKED = 32

_KEY = tree((prefix, _rest(row)) for row in FORMATS if not row.before for prefix in row.prefixes.split() or [""])

# A key begins where a word does. In JSON and in URLs the letters before it may belong to an escape: \n, \u0022, %22.
_EDGE = rf"[^A-Za-z0-9](?=[A-Za-z0-9][!-~]{{{_SHORTEST - 1}}})"
_ESCAPE = r"(?:(?:(?<=\\)(?:u[0-9a-fA-F]{4}|[a-zA-Z])|(?<=%)[0-9A-F]{2})(?=[A-Za-z0-9]))?"
_BEGUN = re.compile(f"{_EDGE}(?P<key>{_KEY})")
_BEGUN_ESCAPED = re.compile(f"{_EDGE}{_ESCAPE}(?P<key>{_KEY})")
_BEGINS = re.compile(r"(?<![A-Za-z0-9])|(?<=\\[a-zA-Z])|(?<=%[0-9A-F]{2})")
_MARKED = re.compile(
    tree(
        (mark, f"(?<=({row.before}){re.escape(mark)}){_rest(row)}")
        for row in FORMATS
        if row.before
        for mark in row.prefixes.split()
    )
)

# What a person typed: parts in one case, in Capitals or in camelCase, with digits at most at their end or once between
# (v1beta1); or short ones of any kind (k8s, i18n); or short numbers.
_WORDS = re.compile(
    r"(?:(?:[A-Z]?[a-z]{1,40}+(?:[A-Z][a-z]{1,40}+)*+[0-9]{0,3}+|[A-Z]{2,15}+[0-9]{0,3}+|[0-9]{1,8}+|[A-Za-z0-9]{1,4}+|"
    r"[a-z]{1,8}+[0-9]{1,3}+[a-z]{1,8}+[0-9]?)(?:[^A-Za-z0-9]{1,3}+|\Z))++"
)


def find_provider_keys(text: str) -> Iterator[Finding]:
    """Every key in the format of a provider."""
    end = 0
    for word in text.split():
        # Word by word: two thirds of the time that searching the whole text takes.
        if len(word) < _SHORTEST:
            continue
        start = text.index(word, end)
        end = start + len(word)
        begun = _BEGUN_ESCAPED if "\\" in word or "%" in word else _BEGUN
        for match in begun.finditer(f" {word}"):
            first, last = match.span("key")
            if _WORDS.fullmatch(word, first - 1, last - 1) is None:
                yield start + first - 1, start + last - 1, "api_key"
        if len(word) >= _SHORTEST_MARKED:
            for match in _MARKED.finditer(word):
                first, last = match.start(match.lastindex or 0), match.end()
                if _BEGINS.match(word, first) and _WORDS.fullmatch(word, first, last) is None:
                    yield start + first, start + last, "api_key"
