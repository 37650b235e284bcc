//go:build interop

package interop

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// wayTime is how long one exchange may take.
const wayTime = 20 * time.Second

// A way is one transport on which a gtmd is asked. Debian's curl is built without HTTP/3: for that quic-go plays the client.
type way struct {
	name      string
	encrypted bool
	send      func(query []byte) ([]byte, error)
}

// exchange asks, and gives the reply with its size.
func (w way) exchange(m *dns.Msg) (*dns.Msg, int, error) {
	packed, err := m.Pack()
	if err != nil {
		return nil, 0, err
	}
	reply, err := w.send(packed)
	if err != nil {
		return nil, 0, err
	}
	r := new(dns.Msg)
	return r, len(reply), r.Unpack(reply)
}

// ways lists the transports, UDP first.
func (g *guarded) ways(t *testing.T) []way {
	two := &http.Transport{TLSClientConfig: g.clientTLS(), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: g.clientTLS("h3")}
	t.Cleanup(func() {
		two.CloseIdleConnections()
		_ = three.Close()
	})
	stream := func(network, at string) func([]byte) ([]byte, error) {
		return func(query []byte) ([]byte, error) {
			return exchangeConn(&dns.Client{Net: network, TLSConfig: g.clientTLS("dot"), Timeout: wayTime}, at, query)
		}
	}
	web := func(client http.RoundTripper, version string) func([]byte) ([]byte, error) {
		return func(query []byte) ([]byte, error) {
			return postQuery(client, "https://"+g.https.String()+"/dns-query", version, query)
		}
	}
	return []way{
		{"UDP", false, stream("udp", g.dns.String())},
		{"TCP", false, stream("tcp", g.dns.String())},
		{"TLS", true, stream("tcp-tls", g.tls.String())},
		{"HTTP/2", true, web(two, "HTTP/2.0")},
		{"HTTP/3", true, web(three, "HTTP/3.0")},
		{"QUIC", true, g.overQUIC},
	}
}

func exchangeConn(client *dns.Client, at string, query []byte) ([]byte, error) {
	conn, err := client.Dial(at)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.UDPSize = 4096
	if err := conn.SetDeadline(time.Now().Add(wayTime)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	reply := make([]byte, 65535)
	n, err := conn.Read(reply)
	return reply[:n], err
}

func postQuery(client http.RoundTripper, url, version string, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wayTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/dns-message")
	response, err := client.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK || response.Proto != version {
		return nil, fmt.Errorf("%s %s: %s", response.Proto, response.Status, body)
	}
	return body, err
}

// overQUIC asks in a connection of its own (RFC 9250).
func (g *guarded) overQUIC(query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wayTime)
	defer cancel()
	conn, err := quic.DialAddr(ctx, g.quic.String(), g.clientTLS("doq"), nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.SetDeadline(time.Now().Add(wayTime)); err != nil {
		return nil, err
	}
	if _, err := stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, err
	}
	if err := stream.Close(); err != nil {
		return nil, err
	}
	framed, err := io.ReadAll(stream)
	if err != nil {
		return nil, err
	}
	if len(framed) < 2 || int(binary.BigEndian.Uint16(framed)) != len(framed)-2 {
		return nil, errors.New("the reply's length is not what stands before it")
	}
	return framed[2:], nil
}
