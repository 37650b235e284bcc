package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
)

// asGtmd makes this test binary be gtmd. What it starts itself (etcd) inherits it.
const asGtmd = "GTM_TEST_BE_GTMD"

func TestMain(m *testing.M) {
	if os.Getenv(asGtmd) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// within bounds what must happen; a test that runs into it fails, none waits for it otherwise.
const within = 30 * time.Second

const configYAML = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  content: |
    @ 3600 IN SOA ns1 hostmaster 0 7200 1800 1209600 60
    @ 3600 IN NS ns1
    ns1 3600 IN A 192.0.2.53
  grants: {shop: [shop.gtm.example.], other: [other.gtm.example.]}
---
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{pools: [eu]}]}
---
kind: Pool
tenant: other
name: p
spec: {endpoints: [{name: a, addresses: [192.0.2.7]}]}
---
kind: Service
tenant: other
name: w
spec: {host: w.other.gtm.example., rules: [{pools: [p]}]}
`

const webHost, otherHost = "web.shop.gtm.example.", "w.other.gtm.example."

// writeConfig writes resources to a file, with the address of the shop's endpoint.
func writeConfig(t *testing.T, address string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, file, strings.ReplaceAll(configYAML, "198.51.100.1", address))
	return file
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// smallGeo writes a geographic database of one network.
func smallGeo(t *testing.T) string {
	t.Helper()
	return geoOf(t, map[string]string{"81.2.69.0/24": "GB"})
}

// geoOf writes a geographic database of networks in countries.
func geoOf(t *testing.T, countries map[string]string) string {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", Description: map[string]string{"en": "one network"}})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, code := range countries {
		_, network, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Insert(network, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(code)}}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := w.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "small.mmdb")
	writeFile(t, file, out.String())
	return file
}

// newDir gives a folder whose path is short enough for anything.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gtmd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// daemon is a running gtmd.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    *gtmtest.Log // standard error
	out    *gtmtest.Log // standard output
	ended  chan struct{}
	dns    netip.AddrPort // zero without the role edge
	web    string         // URL
	errRun error          // how it ended
}

// launch starts gtmd on ports of its own, and does not wait for anything.
func launch(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, log: &gtmtest.Log{}, out: &gtmtest.Log{}, ended: make(chan struct{})}
	all := append([]string{"--data", dir}, args...)
	for _, own := range [][2]string{{"--dns", "127.0.0.1:0"}, {"--http", "127.0.0.1:0"}, {"--id", "edge-1"},
		{"--edge-networks", "127.0.0.0/8"}} {
		if !slices.Contains(args, own[0]) {
			all = append(all, own[0], own[1])
		}
	}
	if !slices.Contains(args, "--demo") && !slices.Contains(args, "--geo") { // all but the demo are quicker with less of a world
		all = append(all, "--geo", smallGeo(t))
	}
	d.cmd = exec.Command(os.Args[0], all...)
	// The race detector would have every process sleep a second at its end.
	d.cmd.Env = append(os.Environ(), asGtmd+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.errRun = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.kill()
		if strings.Contains(d.log.String(), "WARNING: DATA RACE") {
			t.Error("gtmd has a data race")
		}
		if t.Failed() {
			t.Logf("gtmd %s\n%s%s", strings.Join(args, " "), d.log, d.out)
		}
	})
	return d
}

// start is launch, and waits until gtmd says that it is ready and where it listens.
func start(t *testing.T, dir string, args ...string) *daemon {
	t.Helper()
	d := launch(t, dir, args...)
	d.eventually("gtmd is ready", func() error {
		select {
		case <-d.ended:
			t.Fatalf("gtmd ended: %v", d.errRun)
		default:
		}
		lines := bufio.NewScanner(strings.NewReader(d.out.String()))
		for lines.Scan() {
			switch f := strings.Fields(lines.Text()); {
			case len(f) > 1 && f[0] == "DNS":
				d.dns = netip.MustParseAddrPort(f[1])
			case len(f) > 1 && f[0] == "metrics":
				d.web = strings.TrimSuffix(f[1], "/metrics")
				return nil
			}
		}
		return errors.New("it has not said so")
	})
	return d
}

func (d *daemon) eventually(what string, try func() error) {
	d.t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("waited in vain until %s: %v", what, err)
		}
	}
}

// kill ends it at once.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.ended
}

// end gives the exit code of a gtmd that ends by itself.
func (d *daemon) end() int {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(within):
		d.t.Fatal("gtmd does not end")
	}
	return d.cmd.ProcessState.ExitCode()
}

// interrupt is Ctrl-C: a signal to the whole process group. It must end gtmd in good order.
func (d *daemon) interrupt() {
	d.t.Helper()
	if err := syscall.Kill(-d.cmd.Process.Pid, syscall.SIGINT); err != nil {
		d.t.Fatal(err)
	}
	if code := d.end(); code != 0 {
		d.t.Fatalf("after Ctrl-C: exit code %d", code)
	}
}

// ask gives RCODE and addresses: "NOERROR 192.0.2.1".
func (d *daemon) ask(name, subnet string) string { return d.askBy("udp", name, subnet) }

// askBy is ask, by UDP or TCP.
func (d *daemon) askBy(transport, name, subnet string) string {
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1,
			SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()})
	}
	c := &dns.Client{Net: transport, Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, d.dns.String())
	if err != nil {
		return err.Error()
	}
	out := dns.RcodeToString[r.Rcode]
	for _, rr := range r.Answer {
		if a, ok := rr.(*dns.A); ok {
			out += " " + a.A.String()
		}
	}
	return out
}

// answers fails unless the answer for a name is this address.
func (d *daemon) answers(name, address string) {
	d.t.Helper()
	if got := d.ask(name, ""); got != "NOERROR "+address {
		d.t.Errorf("%s: %s, want %s", name, got, address)
	}
}

// comesToAnswer waits for that.
func (d *daemon) comesToAnswer(name, address string) {
	d.t.Helper()
	d.eventually(name+" is "+address, func() error {
		if got := d.ask(name, ""); got != "NOERROR "+address {
			return errors.New(got)
		}
		return nil
	})
}

// get fetches a page.
func (d *daemon) get(path string) (int, string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.web+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (d *daemon) status() (s api.EdgeStatus) {
	d.t.Helper()
	code, body := d.get("/edge/status")
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
		d.t.Fatalf("status: %d %s: %v", code, body, err)
	}
	return s
}

// sourceIs waits until the edge's source is in a state.
func (d *daemon) sourceIs(state string) (s api.Source) {
	d.t.Helper()
	d.eventually("the source is "+state, func() error {
		if s = d.status().Source; s.State != state {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	})
	return s
}

// says fails unless the log or the output holds all of these.
func (d *daemon) says(parts ...string) {
	d.t.Helper()
	for _, p := range parts {
		if !strings.Contains(d.log.String()+d.out.String(), p) {
			d.t.Errorf("gtmd does not say %q", p)
		}
	}
}
