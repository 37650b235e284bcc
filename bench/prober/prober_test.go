package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/netip"
	"testing"
)

func TestTargetAddresses(t *testing.T) {
	seen := map[netip.Addr]bool{}
	for _, i := range []int{0, 1, 255, 256, 65535, 65536, 99_999, mostTargets - 1} {
		a := targetAddress(i)
		if back, ok := targetIndex(a); back != i || !ok || !a.IsLoopback() || seen[a] {
			t.Errorf("%d is at %s, which is %d, %v", i, a, back, ok)
		}
		seen[a] = true
	}
	for _, a := range []string{"127.0.0.1", "10.64.0.1", "127.80.0.0"} {
		if i, ok := targetIndex(netip.MustParseAddr(a)); ok {
			t.Errorf("%s is target %d", a, i)
		}
	}
}

func TestQuantile(t *testing.T) {
	m := parseMetrics("# HELP x y\n# TYPE x histogram\nx_bucket{le=\"0.1\"} 10\nx_bucket{le=\"1\"} 90\nx_bucket{le=\"4\"} 99\n" +
		"x_bucket{le=\"+Inf\"} 100\nx_sum 12.5\nx_count 100\n")
	for share, want := range map[float64]float64{0.05: 0.05, 0.1: 0.1, 0.5: 0.55, 0.9: 1, 0.99: 4, 1: 4} {
		if got := quantile(m, "x", share); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v of it: %v, want %v", share, got, want)
		}
	}
	if m["x_sum"] != 12.5 {
		t.Errorf("read %v", m)
	}
}

// TestTargetsCountWhatComes asks each kind of targets, and hears what they saw of it.
func TestTargetsCountWhatComes(t *testing.T) {
	for _, kind := range []string{"tcp", "http", "https"} {
		in, commands := io.Pipe()
		told, out := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- beTargets(kind, in, out) }()
		answers := json.NewDecoder(told)
		var hello greeting
		if err := answers.Decode(&hello); err != nil {
			t.Fatal(err)
		}
		ask := func(i int) {
			conn, err := net.Dial("tcp", netip.AddrPortFrom(targetAddress(i), hello.Port).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if kind == "https" {
				roots := x509.NewCertPool()
				roots.AppendCertsFromPEM([]byte(hello.CA))
				conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: targetName})
			}
			if kind != "tcp" {
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			}
			said, _ := io.ReadAll(conn)
			if kind != "tcp" && string(said[:min(15, len(said))]) != "HTTP/1.1 200 OK" {
				t.Errorf("%s: %q", kind, said)
			}
		}
		ask(1)
		_, _ = io.WriteString(commands, "begin\n")
		ask(1)
		ask(2)
		_, _ = io.WriteString(commands, "end\n")
		var saw seen
		if err := answers.Decode(&saw); err != nil || saw.Checks != 2 || len(saw.Gaps) != 1 || saw.Gaps[0] <= 0 {
			t.Errorf("%s: %+v, %v", kind, saw, err)
		}
		commands.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
