# Local volumes: folders on this host, made beforehand, bound when a pod is placed. Nothing provisions them, as on bare metal.

storage_classes() {
  kubectl create -f - >/dev/null <<'Y'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: expandable}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
Y
}

# volumes COUNT SIZE: COUNT free volumes per node and class; expandable ones have 1Gi, so that claims can grow beyond them.
# Released ones are wiped and offered again.
volumes() {
  local count=$1 size=$2 name phase i class free k
  local -A taken=() available=()
  while read -r name phase; do
    case $phase in
      Released) kubectl delete pv "$name" >/dev/null; rm -rf "$run/volumes/$name" ;;
      Available) taken[$name]=1; available[${name%-*}]=$((${available[${name%-*}]:-0} + 1)) ;;
      *) [ -z "$name" ] || taken[$name]=1 ;;
    esac
  done <<<"$(kubectl get pv -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.status.phase}{"\n"}{end}')"
  for i in $(nodes); do for class in local expandable; do
    free=${available[$class-$i]:-0} k=0
    while [ "$free" -lt "$count" ]; do
      name=$class-$i-$k; k=$((k + 1))
      [ -z "${taken[$name]:-}" ] || continue
      mkdir -p "$run/volumes/$name"
      if [ $class = expandable ]; then volume "$name" $class "$i" 1Gi; else volume "$name" $class "$i" "$size"; fi
      free=$((free + 1))
    done
  done; done >"$run/volumes.yaml"
  [ ! -s "$run/volumes.yaml" ] || kubectl create -f "$run/volumes.yaml" >/dev/null
}
volume() { # NAME CLASS NODE SIZE
  cat <<Y
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1, labels: {class: $2, node: node$3}}
spec:
  capacity: {storage: $4}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: $2
  local: {path: $run/volumes/$1}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node$3]}]}]}}
Y
}

# What a storage driver does when a claim grows: the volume first, then the claim, which waits for the node's file system.
# A claim that has changed meanwhile, because the kubelet was done, is left alone.
resize() {
  local namespace claim volume wanted has version
  kubectl get pvc -A -o jsonpath='{range .items[?(@.spec.storageClassName=="expandable")]}{.metadata.namespace}{" "}{.metadata.name}{" "}{.spec.volumeName}{" "}{.spec.resources.requests.storage}{" "}{.status.capacity.storage}{" "}{.metadata.resourceVersion}{" "}{.status.conditions[*].type}{"\n"}{end}' |
    while read -r namespace claim volume wanted has version pending; do
      [ -n "${version:-}" ] && [ "$wanted" != "$has" ] && [ -z "$pending" ] || continue
      kubectl patch pv "$volume" -p "{\"spec\": {\"capacity\": {\"storage\": \"$wanted\"}}}" >/dev/null
      kubectl patch pvc -n "$namespace" "$claim" --subresource=status -p "{\"metadata\": {\"resourceVersion\": \"$version\"},
        \"status\": {\"conditions\": [{\"type\": \"FileSystemResizePending\", \"status\": \"True\", \"lastTransitionTime\": \"$(date -u +%FT%TZ)\"}]}}" >/dev/null || true
    done
}
