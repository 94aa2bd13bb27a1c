# The control plane: etcd, API server, controller manager, scheduler and CoreDNS in a network of their own, which is also the
# switch between the nodes. This host hangs on the switch with one cable, `gantry0`; its own network is not touched.
#
#   10.197.0.1    control plane and names       10.198.0.0/16  services
#   10.197.0.1N   node N                        10.199.N.0/24  pods of node N
#   10.197.0.254  this host
#
# Not the usual 10.96 and 10.244: this host may be a pod of some other Kubernetes.

net=10.197.0
api=$net.1
services=10.198
pods=10.199
# ours: routes of this host that lead there already
routes_taken() { ip -4 route show root 10.196.0.0/14 | grep -v gantry0 | head -n 1; }

certificates() {
  local i
  cd "$run/pki"
  key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
  # certificate NAME SUBJECT [NAMES]
  certificate() {
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" | openssl x509 -req -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 8)" -days 30 -out "$1.crt" \
      -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth' "${3:-DNS:localhost}")
  }
  { key ca
    openssl req -x509 -new -key ca.key -out ca.crt -days 30 -subj /CN=gantry-kube
    key sa; openssl ec -in sa.key -pubout -out sa.pub
    certificate apiserver /CN=kube-apiserver "DNS:kubernetes.default.svc,DNS:kubernetes.default,DNS:kubernetes,DNS:localhost,IP:127.0.0.1,IP:$api,IP:$services.0.1"
    certificate admin /O=system:masters/CN=admin
    certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
    certificate controller-manager /CN=system:kube-controller-manager
    certificate scheduler /CN=system:kube-scheduler
    certificate proxy /CN=system:kube-proxy
    certificate coredns /CN=coredns
  } 2>>"$run/log/openssl.log"
  cd - >/dev/null
}
# kubeconfig USER FILE
kubeconfig() {
  cat >"$2" <<Y
apiVersion: v1
kind: Config
clusters: [{name: gantry-kube, cluster: {server: "https://$api:6443", certificate-authority: $run/pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $run/pki/$1.crt, client-key: $run/pki/$1.key}}]
contexts: [{name: gantry-kube, context: {cluster: gantry-kube, user: $1}}]
current-context: gantry-kube
Y
}

in_network() { local network=$1; shift; nsenter --net="/run/netns/gantry-$network" "$@"; }

switch_up() {
  ip netns add gantry-control
  in_network control ip link set lo up
  in_network control ip link add switch type bridge
  in_network control ip address add $api/24 dev switch
  in_network control ip link set switch up
  ip link add gantry0 type veth peer name host netns gantry-control
  in_network control ip link set host master switch up
  ip address add $net.254/24 dev gantry0
  ip link set gantry0 up
}

apiserver_up() {
  start kube-apiserver control control "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --secure-port=6443 --advertise-address=$api --tls-cert-file="$run/pki/apiserver.crt" --tls-private-key-file="$run/pki/apiserver.key" \
    --client-ca-file="$run/pki/ca.crt" --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$run/pki/sa.pub" \
    --service-account-signing-key-file="$run/pki/sa.key" --kubelet-client-certificate="$run/pki/apiserver-kubelet.crt" \
    --kubelet-client-key="$run/pki/apiserver-kubelet.key" --kubelet-preferred-address-types=InternalIP \
    --authorization-mode=Node,RBAC --service-cluster-ip-range=$services.0.0/16 --allow-privileged=true
  wait_for "the API server" 120 kubectl get --raw=/readyz
}

control_up() {
  local user
  keep_tunables
  switch_up
  certificates
  for user in admin controller-manager scheduler proxy coredns; do kubeconfig $user "$run/$user.kubeconfig"; done
  start etcd control control etcd --data-dir "$run/etcd" --unsafe-no-fsync
  apiserver_up
  # A node that is cut off is NotReady after 20 s instead of 40.
  start kube-controller-manager control control "$bin/kube-controller-manager" --kubeconfig="$run/controller-manager.kubeconfig" \
    --service-account-private-key-file="$run/pki/sa.key" --root-ca-file="$run/pki/ca.crt" --use-service-account-credentials --leader-elect=false \
    --bind-address=127.0.0.1 --node-monitor-grace-period=20s --node-monitor-period=2s --flex-volume-plugin-dir="$run/flex"
  start kube-scheduler control control "$bin/kube-scheduler" --kubeconfig="$run/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
  names_up
}

names_up() {
  cat >"$run/Corefile" <<Y
.:53 {
  bind $api
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $run/coredns.kubeconfig gantry-kube
    ttl 1
  }
}
Y
  kubectl create -f - >/dev/null <<Y
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: coredns}
rules:
- {apiGroups: [""], resources: [services, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: coredns}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: coredns}]
Y
  start coredns control control "$bin/coredns" -conf "$run/Corefile"
}
