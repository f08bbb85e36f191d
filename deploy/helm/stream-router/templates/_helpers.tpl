{{- define "stream-router.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "stream-router.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* The configuration of the service, read. What cannot run is refused here, before anything is made. */ -}}
{{- define "stream-router.config" -}}
{{- $config := fromYaml .Values.config }}
{{- if $config.Error }}
{{- fail (printf "config: it cannot be read as YAML: %s" $config.Error) }}
{{- end }}
{{- if not $config.detached }}
{{- fail "config: detached is to be true: the pod that starts the service ends, and with it the service that is not" }}
{{- end }}
{{- if gt (int ($config.routers | default 1)) (int .Values.workers.replicas) }}
{{- fail (printf "config: %d routers want as many workers or more, workers.replicas is %d" (int $config.routers) (int .Values.workers.replicas)) }}
{{- end }}
{{- .Values.config }}
{{- end }}
