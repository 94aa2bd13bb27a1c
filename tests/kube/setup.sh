# What the cluster needs on this host: Debian packages, the Kubernetes binary, helm, and the image every node starts with.
# All but the packages lies in the cache and is made once.

kubernetes=v1.33.13
helm=helm.sh/helm/v3/pkg # built from its source, helm does not know which Kubernetes it is for
packages="containerd runc containernetworking-plugins iptables etcd-server conntrack openssl iproute2 util-linux"
commands="containerd ctr runc iptables etcd conntrack openssl ip nsenter"
cni=/usr/lib/cni

missing_packages() {
  local c
  for c in $commands; do have "$c" || return 0; done
  [ ! -x $cni/ptp ]
}
# The go.mod asks for Go 1.24; from 1.21 on Go fetches the version it is asked for, unless told otherwise.
fitting_go() {
  local v; have go || return 1
  v=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
  [ "${v:-0}" -ge 24 ] || { [ "${v:-0}" -ge 21 ] && [ "$(go env GOTOOLCHAIN)" != local ]; }
}

can() {
  local dir
  no() { echo "$*"; exit 1; }
  [ "$(uname -s)" = Linux ] || no "Kubernetes needs Linux"
  [ "$(id -u)" = 0 ] || no "Kubernetes needs root"
  if missing_packages && ! have apt-get; then no "Kubernetes needs Debian's packages $packages, and there is no apt-get"; fi
  [ -x "$bin/kube" ] || fitting_go || no "building Kubernetes needs Go 1.24 or newer"
  unshare --net --mount true 2>/dev/null || no "Kubernetes needs the right to make network and mount namespaces (CAP_SYS_ADMIN)"
  if have iptables; then unshare --net iptables -t nat -S >/dev/null 2>&1 || no "Kubernetes needs iptables with NAT in a network namespace"; fi
  ! have ip || [ -z "$(routes_taken)" ] || no "Kubernetes needs the addresses 10.197 to 10.199, and this host has the route $(routes_taken)"
  dir=$(tracking)/gantry-kube-probe
  { mkdir -p "$dir" && rmdir "$dir"; } 2>/dev/null || no "Kubernetes needs to make control groups under $(tracking)"
  [ "$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)" -ge 3500 ] || no "Kubernetes and the clusters on it need 4 GiB of memory"
}

setup() {
  local why; why=$(can) || die "$why"
  mkdir -p "$cache"
  ( flock 8; packages ) 8>"$cache/lock"
  binaries
  [ -f "$cache/box.tar" ] || ( flock 8; [ -f "$cache/box.tar" ] || box ) 8>"$cache/lock"
}

packages() {
  if missing_packages; then
    # RUNLEVEL=1: no package starts its service.
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $packages; } \
      >/tmp/gantry-kube-apt.log 2>&1 || die "apt-get install $packages failed: $(tail -n 1 /tmp/gantry-kube-apt.log)"
    ! missing_packages || die "apt-get installed $packages, and one of $commands $cni/ptp is still missing"
  fi
}

# binaries: all that is compiled; for this alone one need not be root.
binaries() {
  [ ! -f "$cache/built" ] || return 0
  mkdir -p "$bin"
  ( flock 8
    [ ! -f "$cache/built" ] || exit 0
    [ -x "$bin/kube" ] && [ -x "$bin/helm" ] || fitting_go || die "building Kubernetes needs Go 1.24 or newer"
    [ -x "$bin/kube" ] || build kube . "-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=33"
    [ -x "$bin/helm" ] || build helm helm.sh/helm/v3/cmd/helm "-X $helm/chartutil.k8sVersionMajor=1 -X $helm/chartutil.k8sVersionMinor=33 -X $helm/lint/rules.k8sVersionMajor=1 -X $helm/lint/rules.k8sVersionMinor=33"
    for name in coredns kubectl kubelet kube-apiserver kube-controller-manager kube-proxy kube-scheduler; do ln -sf kube "$bin/$name"; done
    touch "$cache/built"
  ) 8>"$cache/lock"
}

# build NAME PACKAGE LINKER_FLAGS
build() {
  echo "building $1, once, some minutes" >&2
  (cd "$here/node" && CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags="-s -w $3" -o "$bin/$1.part" "$2") >"$cache/build.log" 2>&1 \
    || die "building $1 failed: $(tail -n 1 "$cache/build.log") (all of it in $cache/build.log)"
  mv "$bin/$1.part" "$bin/$1"
}

# The image `gantry-kube/box:1`: busybox alone. Pods' sandboxes sleep in it, and tests have a shell, nslookup and nc.
box() {
  local t=$cache/box.part
  rm -rf "$t"; mkdir -p "$t/root/bin" "$t/root/tmp"; chmod 1777 "$t/root/tmp"
  (cd "$t" && { apt-get download -qq busybox-static || { apt-get update -qq && apt-get download -qq busybox-static; }; } && dpkg-deb -x busybox-static_*.deb .) >"$cache/build.log" 2>&1 \
    || die "apt-get download busybox-static failed: $(tail -n 1 "$cache/build.log")"
  cp "$t"/bin/busybox "$t/root/bin/" 2>/dev/null || cp "$t"/usr/bin/busybox "$t/root/bin/"
  "$t/root/bin/busybox" --list | while read -r name; do [ "$name" = busybox ] || ln -s busybox "$t/root/bin/$name"; done
  "$here/image" "$t/root" gantry-kube/box:1 "$cache/box.tar" /bin/sh -c "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"
  rm -rf "$t"
}
