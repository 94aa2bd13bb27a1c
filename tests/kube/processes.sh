# Every process of the cluster lives in one tree of control groups, so ending the cluster is ending that tree: containers,
# shims and daemons alike, whatever became of their parents. Also undoes what they leave in shared places.

# tracking: the hierarchy in which daemons are kept together. With cgroup v1 any will do; memory also counts.
tracking() { if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/memory; fi; }
# hierarchies: all in which runc places containers: the one of cgroup v2, or those of v1 (some with a second name, a link).
hierarchies() {
  local dir
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; return; fi
  for dir in /sys/fs/cgroup/*/; do [ ! -f "$dir/cgroup.procs" ] || echo "${dir%/}"; done
}

# make_group NAME: the group gantry-kube/NAME in every hierarchy, ready to have children.
make_group() {
  local dir above part
  for dir in $(hierarchies); do
    above=$dir
    for part in gantry-kube "$1"; do
      if [ -f /sys/fs/cgroup/cgroup.controllers ]; then hand_on_controllers "$above"; fi
      mkdir -p "$above/$part"
      if [ -f "$above/cpuset.mems" ] && [ ! -f /sys/fs/cgroup/cgroup.controllers ]; then # v1: a new group has neither
        cat "$above/cpuset.cpus" >"$above/$part/cpuset.cpus"
        cat "$above/cpuset.mems" >"$above/$part/cpuset.mems"
      fi
      above=$above/$part
    done
  done
}
# v2: a group has the controllers its parent hands on, and a parent that does has no processes of its own. The root of a
# container has; they move to a group beside ours.
hand_on_controllers() {
  local controller pid
  if [ -f "$1/cgroup.type" ] && [ -s "$1/cgroup.procs" ]; then
    mkdir -p "$1/before-gantry-kube"
    while read -r pid; do echo "$pid" >"$1/before-gantry-kube/cgroup.procs" 2>/dev/null || true; done <"$1/cgroup.procs"
  fi
  for controller in $(cat "$1/cgroup.controllers"); do echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || true; done
}

# start NAME GROUP NETWORK COMMAND...: a daemon in a control group and a network; its log and pid get NAME.
start() {
  local name=$1 group=$2 network=$3; shift 3
  mkdir -p "$(tracking)/gantry-kube/$group"
  ( exec 9>&-; echo $BASHPID >"$(tracking)/gantry-kube/$group/cgroup.procs"
    exec setsid nsenter --net="/run/netns/gantry-$network" "$@" ) >>"$run/log/$name.log" 2>&1 </dev/null &
  echo $! >"$run/pid/$name"
  disown # the shell has nothing to say about its end
}
# stop NAME: ends one daemon at once, as a crash does.
stop() {
  local pid; pid=$(cat "$run/pid/$1" 2>/dev/null) || return 0
  rm -f "$run/pid/$1"
  kill -9 "$pid" 2>/dev/null || true
  wait_for "the end of $1" 30 ended "$pid"
}
ended() { ! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }

group_pids() { find "$(tracking)/gantry-kube" -name cgroup.procs -exec cat {} + 2>/dev/null; }

processes_down() {
  local dir pids group
  for _ in $(seq 200); do
    pids=$(group_pids) && [ -n "$pids" ] || break
    kill -9 $pids 2>/dev/null || true # those that die meanwhile are no error
    sleep 0.05
  done
  [ -z "$(group_pids)" ] || die "down: processes $(group_pids | tr '\n' ' ')do not end"
  for dir in $(hierarchies); do
    [ -d "$dir/gantry-kube" ] || continue
    find "$dir/gantry-kube" -depth -type d | while read -r group; do
      for _ in $(seq 100); do rmdir "$group" 2>/dev/null && break; sleep 0.02; done # the kernel needs a moment after the last process
    done
  done
}

network_down() {
  local n
  ip link del gantry0 2>/dev/null || true
  for n in $(ip netns list 2>/dev/null | sed -n 's/^\(gantry-[a-z0-9]*\).*/\1/p'); do ip netns del "$n"; done
  # the mount that the first `ip netns add` of a host makes
  if grep -qsx /run/netns "$run/made" && [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ]; then
    umount /run/netns 2>/dev/null || true # ip mounts it, but not everywhere
    rmdir /run/netns
  fi
}

mounts_down() {
  local m
  awk -v under="$run/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | while read -r m; do umount -l "$m" 2>/dev/null || true; done
}

# What daemons put in places of their own choice, and what the kubelet sets for the whole kernel.
tunables="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes"
keep_tunables() {
  local t
  mkdir -p "$run/tunables"
  for t in $tunables; do cat "/proc/sys/$t" >"$run/tunables/${t//\//.}"; done
  for t in /run/netns /run/containerd /var/lib/cni /var/lib/kubelet /var/log/containers; do [ -e $t ] || echo $t >>"$run/made"; done
}
strays_down() {
  local t f
  for t in $tunables; do
    f=$run/tunables/${t//\//.}
    if [ -f "$f" ]; then cat "$f" >"/proc/sys/$t" 2>/dev/null || true; fi
  done
  for f in "$run"/node*/state/io.containerd.runtime.v2.task/k8s.io/*/address; do
    [ ! -f "$f" ] || rm -f "$(sed 's#^unix://##' "$f")"
  done
  [ ! -d /var/log/containers ] || find /var/log/containers -lname "$run/*" -delete
  [ ! -d /var/lib/cni/results ] || { grep -rlF "$run/" /var/lib/cni/results || true; } | xargs -r rm -f
  # folders that were not there before: gone again if they hold nothing but sockets of dead kubelets
  if [ -f "$run/made" ]; then
    while read -r t; do
      [ -d "$t" ] || continue
      find "$t" -type s -delete
      rm -f "$t/device-plugins/kubelet_internal_checkpoint"
      find "$t" -depth -type d -empty -delete
    done <"$run/made"
  fi
}

memory() {
  local dir
  for dir in control $(nodes | sed 's/^/node/'); do
    dir=$(tracking)/gantry-kube/$dir
    printf '%s %s MiB\n' "$(basename "$dir")" "$(find "$dir" -name cgroup.procs -exec cat {} + | while read -r p; do
      awk '/^Pss:/ {print $2}' "/proc/$p/smaps_rollup" 2>/dev/null; done | awk '{s += $1} END {print int(s / 1024)}')"
  done
}
