{{- /* What charts/generate makes gantry-cluster's values.schema.json of: the kind's own schema, with no field that it does
       not know. */}}
{{- define "closed" -}}
{{- $schema := . }}
{{- if and (hasKey . "properties") (not (get . "x-kubernetes-preserve-unknown-fields")) }}{{ $_ := set . "additionalProperties" false }}{{ end }}
{{- range $word := keys . }}{{ if hasPrefix "x-kubernetes-" $word }}{{ $_ := unset $schema $word }}{{ end }}{{ end }}
{{- range .properties }}{{ include "closed" . }}{{ end }}
{{- with .items }}{{ include "closed" . }}{{ end }}
{{- with .additionalProperties }}{{ include "closed" . }}{{ end }}
{{- end -}}
{{- $version := first (.Files.Get "kind.yaml" | fromYaml).spec.versions }}
{{- $spec := $version.schema.openAPIV3Schema.properties.spec }}
{{- include "closed" $spec }}
{{- /* By default the chart's. */}}
{{- $_ := set $spec "required" (without $spec.required "version") }}
{{- $name := dict "type" "string" "pattern" "^$|^[a-z]([-a-z0-9]{0,34}[a-z0-9])?$" }}
{{- dict "$schema" "http://json-schema.org/draft-07/schema#" "type" "object" "additionalProperties" false "required" (list "spec")
      "properties" (dict "global" (dict "type" "object") "name" $name "spec" $spec) | toPrettyJson }}
