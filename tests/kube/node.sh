# A node: a network of its own with containerd, kubelet and kube-proxy in it.

on_containerd() { local i=$1; shift; ctr -a "$run/node$i/containerd.sock" -n k8s.io "$@"; }

node_up() {
  local i=$1 dir=$run/node$1 address=$net.1$1
  mkdir -p "$dir"/{containerd,state,kubelet,cni,logs}
  make_group "node$i"
  node_network "$i"
  (cd "$run/pki" && certificate "node$i" "/O=system:nodes/CN=system:node:node$i" "DNS:node$i,IP:$address") 2>>"$run/log/openssl.log"
  kubeconfig "node$i" "$dir/kubeconfig"

  # ptp: pods hang on the node by a cable each and not on a bridge, so all they send passes the node's iptables.
  cat >"$dir/cni/10-pods.conflist" <<Y
{"cniVersion": "0.4.0", "name": "gantry-kube", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "$pods.$i.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
Y
  # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot start a container that asks for a better score.
  cat >"$dir/containerd.toml" <<Y
version = 2
root = "$dir/containerd"
state = "$dir/state"
[grpc]
address = "$dir/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "$dir/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/gantry-kube/box:1"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "$cni"
conf_dir = "$dir/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "$(snapshotter)"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "$dir/runc"
Y
  : >"$run/resolv.conf"
  cat >"$dir/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $run/pki/ca.crt}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /gantry-kube/node$i
clusterDNS: [$api]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$dir/containerd.sock
enforceNodeAllocatable: []
evictionHard: {imagefs.available: "1%", nodefs.available: "1%", memory.available: "100Mi"}
failCgroupV1: false
failSwapOn: false
healthzPort: 0
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 4s
oomScoreAdj: 0
podLogsDir: $dir/logs
resolvConf: $run/resolv.conf
tlsCertFile: $run/pki/node$i.crt
tlsPrivateKeyFile: $run/pki/node$i.key
volumePluginDir: $dir/flex
Y
  start "containerd-$i" "node$i/daemons" "node$i" containerd -c "$dir/containerd.toml"
  wait_for "containerd of node $i" 60 on_containerd "$i" version
  on_containerd "$i" images import "$cache/box.tar" >/dev/null
  start "kubelet-$i" "node$i/daemons" "node$i" "$bin/kubelet" --config="$dir/kubelet.yaml" --kubeconfig="$dir/kubeconfig" --hostname-override="node$i" \
    --root-dir="$dir/kubelet" --node-ip="$address" --cert-dir="$dir/kubelet" --node-labels="topology.kubernetes.io/zone=zone$i"
  start "kube-proxy-$i" "node$i/daemons" "node$i" "$bin/kube-proxy" --kubeconfig="$run/proxy.kubeconfig" --hostname-override="node$i" --proxy-mode=iptables \
    --cluster-cidr=$pods.0.0/16 --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 --oom-score-adj=0 \
    --healthz-bind-address=127.0.0.1:10256 --metrics-bind-address=127.0.0.1:10249
}

node_network() {
  local i=$1
  ip netns add "gantry-node$i"
  in_network control ip link add "node$i" type veth peer name eth0 netns "gantry-node$i"
  in_network control ip link set "node$i" master switch up
  in_network control ip route add "$pods.$i.0/24" via "$net.1$i"
  in_network "node$i" ip link set lo up
  in_network "node$i" ip address add "$net.1$i/24" dev eth0
  in_network "node$i" ip link set eth0 up
  in_network "node$i" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
  ip route add "$pods.$i.0/24" via "$net.1$i"
}

# join_nodes COUNT: each node's way to the pods of the others, and this host's way to services, through node 1.
join_nodes() {
  local i j
  for i in $(seq "$1"); do for j in $(seq "$1"); do
    [ "$i" = "$j" ] || in_network "node$i" ip route add "$pods.$j.0/24" via "$net.1$j"
  done; done
  ip route add $services.0.0/16 via $net.11
}

# Overlay does not work upon overlay, as in a container.
snapshotter() { if [ "$(stat -f -c %T "$run")" = overlayfs ]; then echo native; else echo overlayfs; fi; }
