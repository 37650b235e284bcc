package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// sends gives the address of a primary that answers each question with messages of its own.
func sends(t *testing.T, messages ...[]dns.RR) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answerWith(conn, messages)
		}
	}()
	return l.Addr().String()
}

func answerWith(conn net.Conn, messages [][]dns.RR) {
	defer conn.Close()
	c := &dns.Conn{Conn: conn}
	m, err := c.ReadMsg()
	if err != nil {
		return
	}
	for _, rrs := range messages {
		r := new(dns.Msg).SetReply(m)
		r.Answer = rrs
		wire, err := r.Pack()
		if err != nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
			return
		}
	}
	_, _ = io.Copy(io.Discard, conn) // until the client has gone
}

// TestHostilePrimaries: what a primary sends that is no zone is refused, and hurts nothing else.
func TestHostilePrimaries(t *testing.T) {
	soa := "@ 60 SOA ns1 hostmaster 1 60 10 86400 60"
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"the SOA record of a name below", []string{"x 60 SOA ns1 hostmaster 1 60 10 86400 60", "x 60 SOA ns1 hostmaster 1 60 10 86400 60"},
			"x.gtm.example."},
		{"another SOA record among the records", []string{soa, "@ 60 NS ns1", "x 60 SOA ns1 hostmaster 1 60 10 86400 60"},
			"x.gtm.example."},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, "kind: Zone\ntenant: platform\nname: gtm.example.\nspec: {primaries: [{address: \""+
				sends(t, rrs(t, c.lines...))+"\"}]}\n")
			_, err := d.c.refresh(t.Context(), "gtm.example.", d.m.zone("gtm.example.").Primaries)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error that names %s", err, c.want)
			}
		})
	}
}

// A zone that is larger than what is taken was refused without a word of what to do.
func TestALargeZoneIsRefusedWithItsLimit(t *testing.T) {
	soa := "@ 60 SOA ns1 hostmaster 1 60 10 86400 60"
	text := "@ 60 TXT " + strings.Repeat("\""+strings.Repeat("x", 250)+"\" ", 200)
	for most, want := range map[int]string{1 << 20: "",
		100_000: "takes more than 0 MiB to copy, the most that gtm takes of a zone from elsewhere: delegate"} {
		peer := netip.MustParseAddrPort(sends(t, rrs(t, soa, text), rrs(t, "a"+text[1:], "@ 60 NS ns1"), rrs(t, soa)))
		f := &fetcher{addr: peer, now: time.Now, zone: "gtm.example.", most: most}
		if _, err := f.fetch(t.Context(), nil); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("with %d: %v", most, err)
		}
	}
}

// TestPrimaryThatPanicsUs: whatever goes wrong with what one primary sends is an error of that zone.
func TestPrimaryThatPanicsUs(t *testing.T) {
	d := newDesk(t, updateZone+fmt.Sprintf(updateContent, 0))
	d.c.cfg.Changer = nil // stands for any fault of ours
	if _, err := d.c.contained(t.Context(), "gtm.example.", nil); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("got %v, want an error that tells of a panic", err)
	}
}

// update makes a signed UPDATE of gtm.example.
func signedUpdate(t *testing.T, key, secret string) []byte {
	t.Helper()
	m := new(dns.Msg).SetUpdate("gtm.example.")
	m.Insert(rrs(t, "new.dyn 60 A 192.0.2.3"))
	m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	wire, _, err := dns.TsigGenerate(m, secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// TestStrangersUpdatesStayAtTheEdge: an update that no rule of its zone can let in takes nobody's time.
func TestStrangersUpdatesStayAtTheEdge(t *testing.T) {
	w := newWorld(t)
	w.s.cfg.Forward = func(context.Context, []byte, netip.AddrPort) ([]byte, error) {
		t.Error("control was asked")
		return nil, io.EOF
	}
	ask := func(key, secret string) int {
		buf := make([]byte, 4096)
		r := w.s.Handle(&Message{Buf: buf, N: copy(buf, signedUpdate(t, key, secret)), Source: local, Slow: true}, refuseAll)
		return int(buf[3]&0xF) + 1000*min(r.Size, 0)
	}
	if got := ask("stranger.", oneSecret); got != dns.RcodeServerFailure {
		t.Errorf("without a view: %s", dns.RcodeToString[got])
	}
	w.put(updateZone + fmt.Sprintf(updateContent, 0))
	if got := ask("stranger.", oneSecret); got != dns.RcodeNotAuth {
		t.Errorf("with a key that nobody knows: %s", dns.RcodeToString[got])
	}
	if got := ask("one.", otherSecret); got != dns.RcodeNotAuth {
		t.Errorf("with a bad signature: %s", dns.RcodeToString[got])
	}
	w.put(strings.Replace(updateZone, "key: one", "key: two", 1) + fmt.Sprintf(updateContent, 0))
	if got := ask("one.", oneSecret); got != dns.RcodeRefused {
		t.Errorf("with a key of other zones: %s", dns.RcodeToString[got])
	}
}

// TestDeadControlHoldsFewWorkers: slow workers are for signatures too.
func TestDeadControlHoldsFewWorkers(t *testing.T) {
	w := newWorld(t)
	w.put(updateZone + fmt.Sprintf(updateContent, 0))
	begun, end := make(chan struct{}), make(chan struct{})
	w.s.cfg.Forward = func(context.Context, []byte, netip.AddrPort) ([]byte, error) {
		begun <- struct{}{}
		<-end
		return nil, io.EOF
	}
	send := func() int {
		buf := make([]byte, 4096)
		w.s.Handle(&Message{Buf: buf, N: copy(buf, signedUpdate(t, "one.", oneSecret)), Source: local, Slow: true}, refuseAll)
		return int(buf[3] & 0xF)
	}
	var group sync.WaitGroup
	for range maxForwards {
		group.Go(func() { send() })
		<-begun
	}
	if got := send(); got != dns.RcodeServerFailure {
		t.Errorf("one more: %s", dns.RcodeToString[got])
	}
	close(end)
	group.Wait()
	go func() { <-begun }()
	send() // there is room again, or else this would not begin
}

// TestStrangersFillNoLog: refused transfers are told of, but not each.
func TestStrangersFillNoLog(t *testing.T) {
	w := newWorld(t)
	var log bytes.Buffer
	w.s.log = slog.New(slog.NewTextHandler(&log, nil))
	w.s.cfg.Now = func() time.Time { return w.Now }
	w.put(zoneYAML(""))
	m := new(dns.Msg)
	m.SetAxfr("gtm.example.")
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	flood := func() {
		for range 1000 {
			buf := make([]byte, 512)
			if w.s.Handle(&Message{Buf: buf, N: copy(buf, wire), Source: local}, refuseAll); buf[3]&0xF != dns.RcodeRefused {
				t.Fatalf("not refused: %x", buf)
			}
		}
	}
	flood()
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines for 1000 messages:\n%s", n, log.String())
	}
	log.Reset()
	w.Now = w.Now.Add(warnEvery)
	flood()
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "999") {
		t.Errorf("%d lines for 1000 more:\n%s", n, log.String())
	}
}

// TestSignedQuestionWithoutAnswer: what an Answerer says where there is none is no size.
func TestSignedQuestionWithoutAnswer(t *testing.T) {
	w := newWorld(t)
	m := new(dns.Msg).SetQuestion("gtm.example.", dns.TypeSOA)
	m.SetTsig("one.", dns.HmacSHA256, 300, time.Now().Unix())
	wire, _, err := dns.TsigGenerate(m, oneSecret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, -1, -2} {
		buf := make([]byte, 4096)
		r := w.s.Handle(&Message{Buf: buf, N: copy(buf, wire), Source: local}, func([]byte, int) (int, bool) { return size, false })
		if r.Size != 0 {
			t.Errorf("%d: %+v", size, r)
		}
	}
}
