package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// children lists the processes that a process started.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("no such process: %d (%v)", pid, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that ended
		}
		for _, word := range strings.Fields(string(text)) {
			n, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, n)
		}
	}
	return pids
}

func TestStopAndStartAgain(t *testing.T) {
	t.Parallel()
	dir, config := newDir(t), writeConfig(t, "198.51.100.1")
	d := start(t, dir, "--apply", config)
	d.answers(webHost, "198.51.100.1")
	for _, path := range []string{"/healthz", "/readyz"} {
		d.eventually(path+" is ok", func() error {
			if code, body := d.get(path); code != http.StatusOK {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
	}
	token, err := os.Stat(filepath.Join(dir, "token"))
	if err != nil || token.Mode().Perm() != 0o600 {
		t.Errorf("the token: %v, %v", token, err)
	}
	etcd := children(t, d.cmd.Process.Pid)
	if len(etcd) != 1 {
		t.Fatalf("children: %v, want etcd alone", etcd)
	}
	before := d.status()
	begun := time.Now()
	d.interrupt()
	t.Logf("Ctrl-C ended it after %v", time.Since(begun))
	if err := syscall.Kill(etcd[0], 0); err == nil {
		t.Error("its etcd still runs")
	}
	if text := d.log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Error("it complains at its end")
	}

	again := start(t, dir) // no --apply
	again.sourceIs("current")
	again.answers(webHost, "198.51.100.1")
	if got := again.status().Tenants; fmt.Sprint(got) != fmt.Sprint(before.Tenants) {
		t.Errorf("generations %v, before %v", got, before.Tenants)
	}
	if err := again.cmd.Process.Signal(syscall.SIGTERM); err != nil || again.end() != 0 {
		t.Errorf("SIGTERM: %v, exit code %d", err, again.end())
	}

	same := start(t, dir, "--apply", config) // nothing differs, so nothing is changed
	same.sourceIs("current")
	if got := same.status().Tenants; fmt.Sprint(got) != fmt.Sprint(before.Tenants) {
		t.Errorf("generations %v, before %v", got, before.Tenants)
	}
}

func TestInterruptWhileStarting(t *testing.T) {
	t.Parallel()
	d := launch(t, newDir(t), "--apply", writeConfig(t, "198.51.100.1"))
	d.eventually("etcd is on its way", func() error {
		if len(children(t, d.cmd.Process.Pid)) == 0 {
			return fmt.Errorf("no child")
		}
		return nil
	})
	d.interrupt()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"everything wrong", []string{"--roles", "edge,cook", "--dns", "1.2.3", "--http", "foo", "--explain-from", "x", "--workers", "-1",
			"--history", "-1h", "--log", "xml", "--log-level", "loud", "--etcd-ca", "/none", "--id", "a b"}, 2,
			[]string{`"cook" is not a role`, `"1.2.3"`, `"foo"`, `"x" is not a network`, "--workers: -1", "--history: -1h", `"xml"`,
				`"loud"`, "go with --etcd", `"a b"`, "gtmd --help"}},
		{"unknown flag", []string{"--rolls", "edge"}, 2, []string{"--rolls", "gtmd --help"}},
		{"no number", []string{"--workers", "many"}, 2, []string{"workers", "many"}},
		{"argument", []string{"zones"}, 2, []string{`"zones"`}},
		{"no role", []string{"--roles", ""}, 2, []string{"--roles"}},
		{"no address", []string{"--dns", ""}, 2, []string{"--dns"}},
		{"TLS files", []string{"--etcd", "https://127.0.0.1:1", "--etcd-ca", "/no/such.pem"}, 2, []string{"--etcd-ca", "/no/such.pem"}},
		{"half a key pair", []string{"--etcd", "https://127.0.0.1:1", "--etcd-cert", "/no/such.pem"}, 2,
			[]string{"--etcd-cert and --etcd-key"}},
		{"etcd without a scheme", []string{"--etcd", "127.0.0.1:2379"}, 1, []string{"http://HOST:2379"}},
		{"help", []string{"--help"}, 0, []string{"--demo", "--apply", "gtmd --demo --apply zones/demo.yaml "}},
		{"version", []string{"--version"}, 0, []string{version}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := launch(t, newDir(t), c.args...)
			if code := d.end(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			d.says(c.says...)
		})
	}
}

func TestApplyOfFaults(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	writeFile(t, bad, strings.NewReplacer("rules: [{pools: [p]}]", "rulez: [{pools: [p]}]", "pools: [eu]",
		"pools: [ue]").Replace(configYAML))

	d := launch(t, dir, "--apply", bad)
	if code := d.end(); code != 1 {
		t.Errorf("exit code %d on an empty store, want 1", code)
	}
	d.says("the store holds nothing to serve", bad+":29:", "other/Service/w", "spec.rulez")

	dangling := filepath.Join(t.TempDir(), "dangling.yaml")
	writeFile(t, dangling, strings.NewReplacer("pools: [p]", "pools: [q]", "pools: [eu]", "pools: [ue]").Replace(configYAML))
	d = launch(t, dir, "--apply", dangling)
	if code := d.end(); code != 1 {
		t.Errorf("exit code %d on an empty store, want 1", code)
	}
	// all at once
	d.says(dangling+":19:", "shop/Service/web", "shop/Pool/ue does not exist", dangling+":29:", "other/Service/w",
		"other/Pool/q does not exist")

	start(t, dir, "--apply", writeConfig(t, "198.51.100.1")).interrupt()
	d = start(t, dir, "--apply", bad)
	d.answers(webHost, "198.51.100.1")
	d.says("level=ERROR", "--apply failed; serving on with what the store holds", "spec.rulez")
	if got := d.status().Tenants["shop"]; got != 1 {
		t.Errorf("generation %d, want 1", got)
	}
	d.interrupt()

	d = launch(t, newDir(t), "--apply", "/no/such/folder")
	if code := d.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	d.says("/no/such/folder")
}

func TestCorruptGeographyAtTheStart(t *testing.T) {
	t.Parallel()
	file := writeConfig(t, "198.51.100.1") // YAML is no MMDB
	d := launch(t, newDir(t), "--geo", file, "--apply", file)
	if code := d.end(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	d.says("gtmd: geographic database", file)
	if strings.Contains(d.log.String(), "level=WARN") {
		t.Error("it complains of more than that")
	}
}

func TestWhatIsTaken(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := start(t, dir, "--apply", writeConfig(t, "198.51.100.1"))
	web := strings.TrimPrefix(d.web, "http://")
	cases := []struct {
		name, dir string
		args      []string
		says      []string
	}{
		{"the HTTP port", newDir(t), []string{"--http", web},
			[]string{"--http", web, "stop what listens there, or choose another address"}},
		{"the DNS port", newDir(t), []string{"--dns", d.dns.String()}, []string{d.dns.String()}},
		{"the folder", dir, nil, []string{dir, "in use by another gtmd", strconv.Itoa(d.cmd.Process.Pid)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			other := launch(t, c.dir, c.args...)
			if code := other.end(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			other.says(c.says...)
		})
	}
	d.answers(webHost, "198.51.100.1")
}
