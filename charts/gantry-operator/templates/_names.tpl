{{- define "gantry-operator.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "gantry-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "gantry-operator.name" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{- define "gantry-operator.selector" -}}
app.kubernetes.io/name: gantry-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gantry-operator.labels" -}}
{{ include "gantry-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* The namespaces clusters may be in, as a list; empty for all. */}}
{{- define "gantry-operator.namespaces" -}}
{{- if eq .Values.watch.mode "Own" }}{{ list .Release.Namespace | toJson }}
{{- else if eq .Values.watch.mode "List" }}{{ .Values.watch.namespaces | toJson }}
{{- else }}[]{{ end -}}
{{- end }}
