package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// patience is far above what failing over takes, since a loaded machine decides no test.
const patience = 15 * time.Second

// The demo as `make run` serves it but for its port: an endpoint fails, the answers move away and come back.
func TestDemoFailsOver(t *testing.T) {
	t.Parallel()
	port := demoPortOf(t)
	d := start(t, newDir(t), "--demo", "--demo-port", port, "--apply", demoConfig(t, port))
	d.says("Try:", fmt.Sprintf("dig @127.0.0.1 -p %d web.shop.gtm.example +subnet=81.2.69.0/24", d.dns.Port()))
	for subnet, network := range map[string]string{"81.2.69.0/24": "127.0.2.", "202.108.22.0/24": "127.0.4.", "8.8.8.0/24": "127.0.3."} {
		if got := d.ask(webHost, subnet); !strings.HasPrefix(got, "NOERROR "+network) {
			t.Errorf("%s: %s, want %s", subnet, got, network)
		}
	}
	d.eventually("the endpoints are seen to be up", func() error {
		if code, text := d.get("/edge/explain?host=" + webHost + "&subnet=81.2.69.0/24"); code != http.StatusOK ||
			strings.Contains(text, `"unknown"`) {
			return fmt.Errorf("%d %s", code, text)
		}
		return nil
	})
	t.Run("metrics", func(t *testing.T) { lintMetrics(t, d) })

	// Of pool eu only a has a weight, so that every answer tells whether a counts as up.
	const subnet, eu, us = "81.2.69.0/24", "127.0.2.1", "127.0.3.1"
	w := watch(t, d, webHost, subnet)
	defer w.stop()
	for _, step := range []struct{ word, from, to string }{{"fail", eu, us}, {"heal", us, eu}} {
		w.until(step.from)
		began := time.Now()
		post(t, "http://"+eu+":"+port+"/"+step.word)
		first, last := w.change(began, step.from, step.to)
		figures := fmt.Sprintf("%s: first changed answer after %d ms, last stale one after %d ms (check every 1 s, rise 2, fall 2)",
			step.word, first.Milliseconds(), last.Milliseconds())
		t.Log(figures)
		fmt.Println(figures)
		if first > patience || last > patience {
			t.Errorf("that is more than %v", patience)
		}
	}
	w.stop()
	if len(w.odd) > 0 {
		t.Errorf("%d answers were neither: %v", len(w.odd), w.odd[0])
	}
	d.interrupt()
}

// demoPortOf finds a port that is free on all addresses of the demo.
func demoPortOf(t *testing.T) string {
	t.Helper()
	var err error
	for range 20 {
		var probe net.Listener
		if probe, err = net.Listen("tcp", "127.0.2.1:0"); err != nil {
			t.Fatal(err)
		}
		port := probe.Addr().(*net.TCPAddr).Port
		_ = probe.Close()
		endpoints, openErr := openDemo(uint16(port))
		for _, e := range endpoints {
			_ = e.listener.Close()
		}
		if err = openErr; err == nil {
			return fmt.Sprint(port)
		}
	}
	t.Fatal(err)
	return ""
}

// demoConfig copies zones/ with another port, and with a alone in each pool.
func demoConfig(t *testing.T, port string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"demo.yaml", "gtm.example.zone"} {
		text, err := os.ReadFile(filepath.Join("../../zones", name))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.NewReplacer("port: 8080", "port: "+port, "weight: 1", "weight: 0").Replace(string(text))
		if name == "demo.yaml" && strings.Count(changed, "weight: 0") != 3 {
			t.Fatal("zones/demo.yaml is not as this test expects it")
		}
		writeFile(t, filepath.Join(dir, name), changed)
	}
	return dir
}

func post(t *testing.T, url string) {
	t.Helper()
	resp, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, resp.Status)
	}
}

// watcher asks again and again, from several sockets, since each worker of the edge turns to a new view by itself.
type watcher struct {
	t    *testing.T
	quit chan struct{}
	wg   sync.WaitGroup

	mu   sync.Mutex
	seen map[string]sightings // by answer
	odd  []string
}

type sightings struct{ first, last time.Time } // first of the present run

// watch begins to ask.
func watch(t *testing.T, d *daemon, name, subnet string) *watcher {
	w := &watcher{t: t, quit: make(chan struct{}), seen: map[string]sightings{}}
	for range 4 {
		w.wg.Go(func() {
			tick := time.NewTicker(4 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-w.quit:
					return
				case <-tick.C:
					w.note(d.ask(name, subnet))
				}
			}
		})
	}
	return w
}

func (w *watcher) stop() {
	w.mu.Lock()
	select {
	case <-w.quit:
	default:
		close(w.quit)
	}
	w.mu.Unlock()
	w.wg.Wait()
}

func (w *watcher) note(answer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	address, ok := strings.CutPrefix(answer, dns.RcodeToString[dns.RcodeSuccess]+" ")
	if !ok || (address != "127.0.2.1" && address != "127.0.3.1") {
		w.odd = append(w.odd, answer)
		return
	}
	now := time.Now()
	s := w.seen[address]
	if s.first.IsZero() {
		s.first = now
	}
	s.last = now
	w.seen[address] = s
}

// until waits until only this is answered, and then forgets what was seen.
func (w *watcher) until(address string) {
	w.t.Helper()
	w.steady(address)
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.seen)
}

// change waits until only to is answered, and gives when it was first, and when from was last, both since began.
func (w *watcher) change(began time.Time, from, to string) (first, last time.Duration) {
	w.t.Helper()
	w.steady(to)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[to].first.Sub(began), w.seen[from].last.Sub(began)
}

// steady waits until an answer was seen, and no other since for a while.
func (w *watcher) steady(address string) {
	w.t.Helper()
	const while = 300 * time.Millisecond
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		here, others := w.seen[address], time.Time{}
		for a, s := range w.seen {
			if a != address && s.last.After(others) {
				others = s.last
			}
		}
		w.mu.Unlock()
		if !here.last.IsZero() && here.last.Sub(here.first) > while && here.last.Sub(others) > while {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain until all get %s", address)
		}
	}
}

// lintMetrics checks the names of everything that a gtmd in all roles exposes.
func lintMetrics(t *testing.T, d *daemon) {
	if code, _ := d.get("/v1/status"); code != http.StatusUnauthorized { // without its token; counted all the same
		t.Errorf("the API without a token says %d", code)
	}
	code, text := d.get("/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	lawful := regexp.MustCompile(`^(go|process|promhttp)_|` +
		`^gtm_(edge|serve|store|control|prober|probe|change|alias|transfer)_[a-z]+(_[a-z0-9]+)*$`)
	packages := map[string]bool{}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 3 && fields[1] == "TYPE" {
			if !lawful.MatchString(fields[2]) {
				t.Errorf("%s is not named as the house does", fields[2])
			}
			packages[strings.Join(strings.Split(fields[2], "_")[:2], "_")] = true
		}
	}
	for _, p := range []string{"gtm_edge", "gtm_serve", "gtm_store", "gtm_control", "gtm_prober", "gtm_probe"} {
		if !packages[p] {
			t.Errorf("there are no metrics of %s", p)
		}
	}
}
