{{- define "fedloom.name" -}}
{{- printf "%s-%s" .Release.Name .Values.role | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "fedloom.labels" -}}
app.kubernetes.io/name: fedloom
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.role }}
{{- end -}}

{{- define "fedloom.image" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* Instead of its program, while the home is made. */}}
{{- define "fedloom.waits" -}}
command: [sleep, infinity]
{{- end -}}

{{/* Every container: not root, nothing writable but volumes, no capability. */}}
{{- define "fedloom.confined" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Every pod. It talks to no Kubernetes interface, so it gets no token for one. */}}
{{- define "fedloom.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* One home, one writer: the ledger in it must exist once. */}}
{{- define "fedloom.storage" -}}
volumeClaimTemplates:
  - metadata:
      name: home
    spec:
      accessModes: [{{ .Values.storage.accessMode }}]
      {{- with .Values.storage.className }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .Values.storage.size }}
{{- end -}}
