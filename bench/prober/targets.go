package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// targetsVariable is what the process that is checked finds in its environment: the type of the checks.
const targetsVariable = "GTM_BENCH_TARGETS"

// targetName is what the certificate of https targets is for.
const targetName = "check.test"

// mostTargets is how many there can be.
const mostTargets = 1 << 20

// targetAddress is that of target i.
func targetAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(64 + i>>16), byte(i >> 8), byte(i)})
}

// targetIndex is the way back; not ok: it is none's.
func targetIndex(a netip.Addr) (i int, ok bool) {
	b := a.Unmap().As4()
	i = (int(b[1])-64)<<16 | int(b[2])<<8 | int(b[3])
	return i, b[0] == 127 && i >= 0 && i < mostTargets
}

// greeting is what the targets' process says first, seen what it says after each stretch of time.
type greeting struct {
	Port uint16
	CA   string
}

type seen struct {
	Checks int
	Gaps   []float64 // seconds between two checks of one target that ended within
}

// targets is that process, seen from here.
type targets struct {
	greeting
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// startTargets starts servers of a type at all addresses, on a core.
func startTargets(kind, core string) (*targets, error) {
	command := process.Command{Args: []string{process.Self()}, Core: core, Env: []string{targetsVariable + "=" + kind}}
	cmd := command.Cmd(context.Background())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t := &targets{cmd: cmd, in: in, out: json.NewDecoder(out)}
	return t, t.out.Decode(&t.greeting)
}

// begin begins a stretch of time, end ends it and tells what came meanwhile.
func (t *targets) begin() error {
	_, err := io.WriteString(t.in, "begin\n")
	return err
}

func (t *targets) end() (s seen, err error) {
	if _, err = io.WriteString(t.in, "end\n"); err == nil {
		err = t.out.Decode(&s)
	}
	return s, err
}

func (t *targets) stop() error { return errors.Join(t.in.Close(), t.cmd.Wait()) }

// targetsProcess is that process, where this one was started to be it, and then does not return.
func targetsProcess() {
	kind, ok := os.LookupEnv(targetsVariable)
	if !ok {
		return
	}
	if err := beTargets(kind, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "targets:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// arrivals are the checks that came.
type arrivals struct {
	mu   sync.Mutex
	last []time.Time // of each target
	on   bool
	seen
}

func (a *arrivals) note(i int, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.on {
		a.Checks++
		if !a.last[i].IsZero() {
			a.Gaps = append(a.Gaps, now.Sub(a.last[i]).Seconds())
		}
	}
	a.last[i] = now
}

// beTargets serves until in ends, and does what it says.
func beTargets(kind string, in io.Reader, out io.Writer) error {
	var secure *tls.Config
	hello := greeting{}
	if kind == "https" {
		var err error
		if secure, hello.CA, err = newCertificate(); err != nil {
			return err
		}
	}
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	defer l.Close()
	hello.Port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	if err := json.NewEncoder(out).Encode(hello); err != nil {
		return err
	}
	a := &arrivals{last: make([]time.Time, mostTargets)}
	go a.accept(l, kind, secure)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		a.mu.Lock()
		was := a.seen
		a.seen, a.on = seen{}, lines.Text() == "begin"
		a.mu.Unlock()
		if !a.on {
			if err := json.NewEncoder(out).Encode(was); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *arrivals) accept(l net.Listener, kind string, secure *tls.Config) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if i, ok := targetIndex(conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()); ok {
			a.note(i, time.Now())
		}
		if kind == "tcp" {
			_ = conn.Close()
			continue
		}
		go func() {
			defer conn.Close()
			if secure != nil {
				conn = tls.Server(conn, secure)
			}
			answer(conn)
		}()
	}
}

// answer reads one request, and says that all is well.
func answer(conn net.Conn) {
	var buf [1024]byte
	for n := 0; n < len(buf) && !bytes.Contains(buf[:n], []byte("\r\n\r\n")); {
		m, err := conn.Read(buf[n:])
		if n += m; err != nil {
			return
		}
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

// newCertificate makes one that is its own authority.
func newCertificate() (*tls.Config, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{targetName}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, "", err
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return config, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}
