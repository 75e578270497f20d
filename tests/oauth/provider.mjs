// A real identity provider (npm `oidc-provider`) for the tests: `node provider.mjs SETTINGS`, a JSON object in a file.
// Everybody who comes to log in is "ana" and agrees to everything; clients may register themselves.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { Provider } from "oidc-provider";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const provider = new Provider(settings.issuer, {
  jwks: settings.jwks,
  clients: settings.clients,
  cookies: { keys: ["tests"] },
  scopes: ["openid", "offline_access", "metricas"],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  extraTokenClaims: (_, token) => settings.claims[token.clientId],
  ttl: { AccessToken: 600, ClientCredentials: 600, Session: 600, Grant: 600, Interaction: 600, IdToken: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (_, __, oneOf) => oneOf,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: "metricas",
        audience: resource,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: settings.jwks.keys[0].alg } },
      }),
    },
  },
});

async function agree(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    return provider.interactionFinished(request, response, { login: { accountId: "ana" } });
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(" "));
  for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  return provider.interactionFinished(
    request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true },
  );
}

const handle = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith("/interaction/")) return handle(request, response);
  agree(request, response).catch((error) => response.writeHead(500).end(String(error)));
}).listen(new URL(settings.issuer).port, "127.0.0.1");
