# What tests do to the cluster. Nothing here needs the API server, because it may be what was taken away.

node_link() { # N down|up
  [ $# = 2 ] && { [ "$2" = up ] || [ "$2" = down ]; } || die "usage: kube node N down|up"
  [ -d "$run/node$1" ] || die "node $1: no such node; there are $(nodes | tr '\n' ' ')"
  in_network control ip link set "node$1" "$2"
}

api() {
  case ${1:-} in
    stop) stop kube-apiserver ;;
    start) [ -f "$run/pid/kube-apiserver" ] || apiserver_up ;;
    *) die "usage: kube api stop|start" ;;
  esac
}

run_in() { # N|control COMMAND...
  [ $# -ge 2 ] || die "usage: kube in N|control COMMAND"
  local network=$1; shift
  if [ "$network" = control ]; then in_network control "$@"; else in_network "node$network" "$@"; fi
}

# container NAMESPACE POD CONTAINER: prints the pid of its process. CONTAINER may be empty if the pod has but one.
container() {
  local i id filter="labels.\"io.kubernetes.pod.namespace\"==$1,labels.\"io.kubernetes.pod.name\"==$2,labels.\"io.cri-containerd.kind\"==container"
  [ -z "$3" ] || filter="$filter,labels.\"io.kubernetes.container.name\"==$3"
  for i in $(nodes); do
    for id in $(on_containerd "$i" containers ls -q "$filter"); do
      on_containerd "$i" tasks ls | awk -v id="$id" '$1 == id && $3 == "RUNNING" {print $2}'
    done
  done
}
# options NAMESPACE, SIGNAL, POD and CONTAINER from the arguments
options() {
  namespace=default signal=KILL
  while getopts n:s: option; do
    case $option in n) namespace=$OPTARG ;; s) signal=$OPTARG ;; *) die "usage: kube pid|kill [-n NAMESPACE] [-s SIGNAL] POD [CONTAINER]" ;; esac
  done
  shift $((OPTIND - 1))
  pod=${1:-} name=${2:-}
  [ -n "$pod" ] || die "which pod? kube pid|kill [-n NAMESPACE] [-s SIGNAL] POD [CONTAINER]"
}
container_pid() {
  local pids; options "$@"
  pids=$(container "$namespace" "$pod" "$name")
  case $(echo "$pids" | grep -c .) in
    0) die "pod $namespace/$pod has no running container ${name:+named $name}" ;;
    1) echo "$pids" ;;
    *) die "pod $namespace/$pod has several containers: name one" ;;
  esac
}
container_kill() { local pid; pid=$(container_pid "$@"); options "$@"; kill -s "$signal" "$pid"; }
