//go:build interop

package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// binEnv tells the inner process where the programs are. It is set in the inner one only.
const binEnv = "GTM_RIG_BIN"

// programs are the packages of what a rig runs: gtmd, gtmctl, etcd (whose package is server), etcdctl and etcdutl.
var programs = []string{"github.com/gti/gtm/cmd/gtmd", "github.com/gti/gtm/cmd/gtmctl",
	"go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"}

// Bin gives the path of one of the programs.
func Bin(name string) string { return filepath.Join(os.Getenv(binEnv), name) }

// Main is what TestMain calls: it builds the programs, and runs the tests in a process with a network and mounts of its own.
func Main(m *testing.M) int {
	if os.Getenv(binEnv) == "" {
		return outer()
	}
	for _, command := range []string{
		"mkdir -p /run/netns", "mount -t tmpfs tmpfs /run/netns", "ip link set lo up",
		"ip link add inside type bridge", "ip addr add 10.77.0.1/16 dev inside", "ip link set inside up",
		"ip link add outside type bridge", "ip addr add 10.76.0.1/16 dev outside", "ip link set outside up",
		"ip route add local " + endpointNet + " dev lo",
	} {
		if err := shell(command); err != nil {
			fmt.Fprintln(os.Stderr, "rig:", err)
			return 1
		}
	}
	return m.Run()
}

func outer() int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "rig: network namespaces need root")
		return 1
	}
	dir, err := os.MkdirTemp("", "gtm-rig-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		return 1
	}
	inner := exec.Command("/proc/self/exe", os.Args[1:]...)
	inner.Args[0] = os.Args[0]
	inner.Env = append(os.Environ(), binEnv+"="+dir)
	inner.Stdin, inner.Stdout, inner.Stderr = os.Stdin, os.Stdout, os.Stderr
	inner.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is sent when the thread ends that started the process
	err = inner.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		return ended.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		return 1
	}
	return 0
}

func build(dir string) error {
	command := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", dir + string(filepath.Separator)}, programs...)...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	return os.Rename(filepath.Join(dir, "server"), filepath.Join(dir, "etcd"))
}

// shell runs a command of words without quotes.
func shell(command string) error {
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}
