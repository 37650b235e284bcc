package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"
)

// quicOptions are what this program's two duties with QUIC are told.
type quicOptions struct {
	serve, load, dir   string
	answer             int
	conns, outstanding int
	seconds            float64
}

const protocolQUIC = "doq"

// serveQUIC answers what comes in each stream with a constant: what the library itself allows.
func serveQUIC(ctx context.Context, q quicOptions) error {
	cert, err := tls.LoadX509KeyPair(filepath.Join(q.dir, certFile), filepath.Join(q.dir, keyFile))
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{protocolQUIC}}
	listener, err := quic.ListenAddr(q.serve, config, &quic.Config{MaxIncomingStreams: 32})
	if err != nil {
		return err
	}
	answer := make([]byte, q.answer)
	binary.BigEndian.PutUint16(answer, uint16(q.answer-2))
	for {
		conn, err := listener.Accept(ctx)
		if err != nil {
			return err
		}
		go answerStreams(ctx, conn, answer)
	}
}

func answerStreams(ctx context.Context, conn *quic.Conn, answer []byte) {
	for {
		str, err := conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		go func() {
			if _, err := io.Copy(io.Discard, str); err != nil {
				return
			}
			_, _ = str.Write(answer) // where it fails, the client misses it
			_ = str.Close()
		}()
	}
}

// loadQUIC asks for so long by as many connections, a stream for each query, and reports like dnsperf.
func loadQUIC(ctx context.Context, q quicOptions, w io.Writer) error {
	queries, err := packQueries(q.dir)
	if err != nil {
		return err
	}
	trust, err := trusted(q.dir)
	if err != nil {
		return err
	}
	trust.NextProtos = []string{protocolQUIC}
	var t tally
	var group errgroup.Group
	began := time.Now()
	until := began.Add(time.Duration(q.seconds * float64(time.Second)))
	for i := range q.conns {
		conn, err := quic.DialAddr(ctx, q.load, trust, nil)
		if err != nil {
			return err
		}
		defer conn.CloseWithError(0, "")
		for range (q.outstanding + i) / q.conns { // as even as it gets
			group.Go(func() error { return t.askOn(ctx, conn, queries, until) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return t.report(w, time.Since(began))
}

// packQueries makes framed queries of the file that dnsperf reads.
func packQueries(dir string) (all [][]byte, err error) {
	file, err := os.Open(filepath.Join(dir, queryFile))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, _, _ := strings.Cut(lines.Text(), " ")
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		m.Id = 0
		raw, err := m.Pack()
		if err != nil {
			return nil, err
		}
		all = append(all, append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no queries", file.Name())
	}
	return all, nil
}

func (t *tally) askOn(ctx context.Context, conn *quic.Conn, queries [][]byte, until time.Time) error {
	for room := make([]byte, 4096); ; {
		began := time.Now()
		if began.After(until) {
			return nil
		}
		n, err := exchange(ctx, conn, queries[int(t.next.Add(1))%len(queries)], room)
		if err != nil {
			return err
		}
		if n < 2+12 || int(binary.BigEndian.Uint16(room)) != n-2 {
			return fmt.Errorf("an answer of %d bytes that is none", n)
		}
		t.count(room[2:n], began)
	}
}

// exchange sends one framed query by a stream of its own, and reads all that comes back.
func exchange(ctx context.Context, conn *quic.Conn, framed, room []byte) (n int, err error) {
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return 0, err
	}
	if _, err = str.Write(framed); err != nil {
		return 0, err
	}
	if err = str.Close(); err != nil {
		return 0, err
	}
	for n < len(room) {
		got, err := str.Read(room[n:])
		n += got
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("an answer is too long")
}

// newQUICAsker is newAsker for DNS over QUIC.
func newQUICAsker(ctx context.Context, trust *tls.Config, address string) (asker, func(), error) {
	trust = trust.Clone()
	trust.NextProtos = []string{protocolQUIC}
	dialing, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(dialing, address, trust, nil)
	if err != nil {
		return nil, nil, err
	}
	end := func() { _ = conn.CloseWithError(0, "") }
	return func(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
		m.Id = 0
		raw, err := m.Pack()
		if err != nil {
			return nil, err
		}
		room := make([]byte, 4096)
		n, err := exchange(ctx, conn, append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...), room)
		if err != nil {
			return nil, err
		}
		if n < 2 {
			return nil, net.ErrClosed
		}
		reply := new(dns.Msg)
		return reply, reply.Unpack(room[2:n])
	}, end, nil
}
