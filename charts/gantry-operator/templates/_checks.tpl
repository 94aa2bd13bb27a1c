{{- /* What the schema cannot say: values that only clash with each other. */}}
{{- define "gantry-operator.checks" -}}
{{- $times := .Values.leaderElection }}
{{- $lease := include "gantry-operator.milliseconds" $times.leaseDuration | int64 }}
{{- $renew := include "gantry-operator.milliseconds" $times.renewDeadline | int64 }}
{{- $retry := include "gantry-operator.milliseconds" $times.retryPeriod | int64 }}
{{- if or (lt $retry 1) (lt $renew (mul 2 $retry)) (le $lease $renew) }}
{{- fail (printf "leaderElection: leaseDuration %s must be longer than renewDeadline %s, and that at least twice retryPeriod %s" $times.leaseDuration $times.renewDeadline $times.retryPeriod) }}
{{- end }}
{{- range $key, $_ := include "gantry-operator.labels" . | fromYaml }}
{{- if hasKey ($.Values.podLabels | default dict) $key }}
{{- fail (printf "podLabels: the chart sets %s itself, by which pods are found: take it out" $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A duration such as 1m30s. */}}
{{- define "gantry-operator.milliseconds" -}}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 }}
{{- $unit := regexFind "[a-z]+" . }}
{{- $sum = add $sum (mul (trimSuffix $unit . | int64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit)) }}
{{- end }}
{{- $sum }}
{{- end }}
