{{- define "otel-bridge.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "otel-bridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "otel-bridge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "otel-bridge.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "otel-bridge.selector" -}}
app.kubernetes.io/name: {{ include "otel-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: bridge
{{- end -}}

{{- define "otel-bridge.labels" -}}
app.kubernetes.io/name: {{ include "otel-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "otel-bridge.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "otel-bridge.postgresql" -}}
{{- if eq .Values.journal.kind "postgresql" -}}yes{{- end -}}
{{- end -}}

{{/* What is wrong with the values although each is good by itself. */}}
{{- define "otel-bridge.check" -}}
{{- if include "otel-bridge.postgresql" . -}}
{{- if not .Values.journal.postgresql.secret.name -}}
{{- fail "journal.postgresql.secret.name: falta el nombre del Secret con la URL postgresql://… (docs/kubernetes.md)" -}}
{{- end -}}
{{- if not .Values.userHashKey.secret.name -}}
{{- fail "userHashKey.secret.name: con postgresql todas las réplicas necesitan la misma clave del hash: nombra el Secret que la tiene (docs/kubernetes.md)" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host: falta el nombre público, como gpt.example.com" -}}
{{- end -}}
{{- if gt (add (int .Values.preStopSeconds) 45) (int .Values.terminationGracePeriodSeconds) -}}
{{- fail (printf "terminationGracePeriodSeconds: es %d; una parada puede durar preStopSeconds (%d) y 45 s más" (int .Values.terminationGracePeriodSeconds) (int .Values.preStopSeconds)) -}}
{{- end -}}
{{- end -}}

{{- define "otel-bridge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* A volume with one key of a Secret, as a file named by what it is. Arguments: name, secret. */}}
{{- define "otel-bridge.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret.name }}
    defaultMode: 0440
    items: [{key: {{ .secret.key | quote }}, path: {{ .name }}}]
{{- end -}}

{{/* What the chart sets by itself; a variable of the same name in `env` or `extraEnv` takes its place. */}}
{{- define "otel-bridge.env" -}}
- {name: OTEL_BRIDGE_CONFIG, value: /etc/otel-bridge/config/otel-bridge.toml}
- {name: OTEL_BRIDGE_HOST, value: {{ .Values.listen | quote }}}
- {name: OTEL_BRIDGE_METRICS_HOST, value: {{ .Values.listen | quote }}}
- {name: OTEL_BRIDGE_LOG_FORMAT, value: json}
- {name: OTEL_BRIDGE_ALLOW_KEYLESS, value: {{ .Values.allowKeyless | quote }}}
{{- with .Values.publicUrl }}
- {name: OTEL_BRIDGE_PUBLIC_URL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.trustedProxies }}
- {name: OTEL_BRIDGE_TRUSTED_PROXIES, value: {{ join "," . | quote }}}
{{- end }}
{{- if include "otel-bridge.postgresql" . }}
{{- /* Empty: the image's own default, a file, gives way to the Secret. */}}
- {name: OTEL_BRIDGE_JOURNAL, value: ""}
- {name: OTEL_BRIDGE_JOURNAL_FILE, value: /etc/otel-bridge/secrets/journal/journal}
{{- else }}
- {name: OTEL_BRIDGE_JOURNAL, value: "sqlite:////var/lib/otel-bridge/otel-bridge.db"}
{{- end }}
{{- if .Values.userHashKey.secret.name }}
- {name: OTEL_BRIDGE_USER_HASH_KEY_FILE, value: /etc/otel-bridge/secrets/user-hash-key/user-hash-key}
{{- end }}
{{- if .Values.rateLimitStorage.secret.name }}
- {name: OTEL_BRIDGE_RATE_LIMIT_STORAGE_FILE, value: /etc/otel-bridge/secrets/rate-limit-storage/rate-limit-storage}
{{- end }}
{{- with .Values.otlp.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ $.Values.otlp.protocol | quote }}}
{{- end }}
{{- if .Values.otlp.headers.secret.name }}
- {name: OTEL_EXPORTER_OTLP_HEADERS_FILE, value: /etc/otel-bridge/secrets/otlp-headers/otlp-headers}
{{- end }}
{{- end -}}

{{- define "otel-bridge.pod" -}}
metadata:
  labels:
    {{- include "otel-bridge.labels" . | nindent 4 }}
    app.kubernetes.io/component: bridge
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "otel-bridge.fullname" . }}
  automountServiceAccountToken: false
  # A Service named otel-bridge would give the pod variables that begin as the settings do.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- if and (include "otel-bridge.postgresql" .) (eq .Values.journal.postgresql.migrate.how "initContainer") }}
  initContainers:
    # Run by each pod: it finds nothing to do after the first, and of two at once one waits for the other.
    {{- include "otel-bridge.migrate" . | nindent 4 }}
  {{- end }}
  containers:
    - name: otel-bridge
      image: {{ include "otel-bridge.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      env:
        {{- $given := keys (.Values.env | default dict) }}
        {{- range .Values.extraEnv }}
        {{- $given = append $given .name }}
        {{- end }}
        {{- range fromYamlArray (include "otel-bridge.env" .) }}
        {{- if not (has .name $given) }}
        - {name: {{ .name }}, value: {{ .value | quote }}}
        {{- end }}
        {{- end }}
        {{- range $name, $value := .Values.env }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: http, containerPort: 8000, protocol: TCP}
        - {name: metrics, containerPort: 9464, protocol: TCP}
      startupProbe:
        httpGet: {path: /healthz, port: http}
        {{- toYaml .Values.startupProbe | nindent 8 }}
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      lifecycle:
        preStop:
          exec: {command: [sleep, {{ .Values.preStopSeconds | quote }}]}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- include "otel-bridge.containerSecurity" . | nindent 8 }}
      volumeMounts:
        # The folder and no `subPath`: only so a changed ConfigMap reaches the file, which the bridge watches.
        - {name: config, mountPath: /etc/otel-bridge/config, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if include "otel-bridge.postgresql" . }}
        - {name: journal, mountPath: /etc/otel-bridge/secrets/journal, readOnly: true}
        {{- end }}
        - {name: data, mountPath: /var/lib/otel-bridge}
        {{- if .Values.userHashKey.secret.name }}
        - {name: user-hash-key, mountPath: /etc/otel-bridge/secrets/user-hash-key, readOnly: true}
        {{- end }}
        {{- if .Values.rateLimitStorage.secret.name }}
        - {name: rate-limit-storage, mountPath: /etc/otel-bridge/secrets/rate-limit-storage, readOnly: true}
        {{- end }}
        {{- if .Values.otlp.headers.secret.name }}
        - {name: otlp-headers, mountPath: /etc/otel-bridge/secrets/otlp-headers, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "otel-bridge.fullname" . }}}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if include "otel-bridge.postgresql" . }}
    # The journal is elsewhere: only a line of audit of `otel-bridge user forget` is ever written here.
    - name: data
      emptyDir: {sizeLimit: 64Mi}
    {{- include "otel-bridge.secretVolume" (dict "name" "journal" "secret" .Values.journal.postgresql.secret) | nindent 4 }}
    {{- if and (eq .Values.journal.postgresql.migrate.how "initContainer") .Values.journal.postgresql.migrate.secret.name }}
    {{- include "otel-bridge.secretVolume" (dict "name" "migrate" "secret" .Values.journal.postgresql.migrate.secret) | nindent 4 }}
    {{- end }}
    {{- else if .Values.journal.sqlite.existingClaim }}
    - name: data
      persistentVolumeClaim: {claimName: {{ .Values.journal.sqlite.existingClaim }}}
    {{- end }}
    {{- if .Values.userHashKey.secret.name }}
    {{- include "otel-bridge.secretVolume" (dict "name" "user-hash-key" "secret" .Values.userHashKey.secret) | nindent 4 }}
    {{- end }}
    {{- if .Values.rateLimitStorage.secret.name }}
    {{- include "otel-bridge.secretVolume" (dict "name" "rate-limit-storage" "secret" .Values.rateLimitStorage.secret) | nindent 4 }}
    {{- end }}
    {{- if .Values.otlp.headers.secret.name }}
    {{- include "otel-bridge.secretVolume" (dict "name" "otlp-headers" "secret" .Values.otlp.headers.secret) | nindent 4 }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if include "otel-bridge.postgresql" . }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "otel-bridge.selector" . | nindent 10 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* The container that makes the tables, of the Job or of each pod. Its own role where one is named. */}}
{{- define "otel-bridge.migrate" -}}
{{- $own := .Values.journal.postgresql.migrate.secret.name -}}
{{- $volume := ternary "migrate" "journal" (not (empty $own)) -}}
- name: migrate
  image: {{ include "otel-bridge.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [journal, migrate{{ with .Values.journal.postgresql.migrate.grant }}, --grant, {{ . | quote }}{{ end }}]
  env:
    - {name: OTEL_BRIDGE_JOURNAL, value: ""}
    - {name: OTEL_BRIDGE_JOURNAL_FILE, value: /etc/otel-bridge/secrets/{{ $volume }}/{{ $volume }}}
  resources:
    requests: {cpu: 50m, memory: 64Mi}
    limits: {memory: 256Mi}
  securityContext:
    {{- include "otel-bridge.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: {{ $volume }}, mountPath: /etc/otel-bridge/secrets/{{ $volume }}, readOnly: true}
    - {name: tmp, mountPath: /tmp}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
