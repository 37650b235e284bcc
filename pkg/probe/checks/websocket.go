package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/coder/websocket"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

func compileWebsocket(c *probe.Check, tenant string, m *spec.Monitor) error {
	c.Path, c.Name, c.Send, c.TLS = m.Path, m.Host, m.Send, m.TLS
	setBody(c, m)
	setHeaders(c, tenant, m.Headers)
	if _, err := request(c, "host"); err != nil {
		return fmt.Errorf("path %q is not part of a URL", c.Path)
	}
	return nil
}

// runWebsocket passes once the server has taken up the protocol, was sent the message, if there is one, and has answered as wanted, if
// anything is.
func runWebsocket(ctx context.Context, a *attempt) error {
	request, err := request(a.Check, a.name())
	if err != nil {
		return fail("request", err)
	}
	if err := a.k.addSecrets(request.Header, a.Secrets); err != nil {
		return err
	}
	conn, done, err := a.dial(ctx, "tcp")
	if err != nil {
		return err
	}
	defer done()
	if a.TLS {
		if conn, err = a.secure(ctx, conn, "http/1.1"); err != nil {
			return err
		}
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := http.Transport{DialContext: dial, DialTLSContext: dial, MaxResponseHeaderBytes: headerLimit}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	socket, response, err := websocket.Dial(ctx, request.URL.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &transport, CheckRedirect: stay}, HTTPHeader: request.Header})
	switch {
	case err == nil:
	case response != nil && response.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("status %d, want 101", response.StatusCode)
	case response != nil:
		return fail("response", errors.New("the server breaks the protocol"))
	default:
		return roundTripError(err)
	}
	defer socket.CloseNow()
	socket.SetReadLimit(bodyLimit)
	return a.converse(ctx, socket)
}

// converse sends the message and looks at the answer.
func (a *attempt) converse(ctx context.Context, socket *websocket.Conn) error {
	if a.Send != "" {
		if err := socket.Write(ctx, websocket.MessageText, []byte(a.Send)); err != nil {
			return fail("send", plainOr(err, "the connection was closed too early"))
		}
	}
	if !readsBody(a.Check) {
		return nil
	}
	_, message, err := socket.Read(ctx)
	switch {
	case err == nil:
		return lookInto(a.Check, message, nil)
	case websocket.CloseStatus(err) != -1:
		return fmt.Errorf("message: the server closed with status %d", websocket.CloseStatus(err))
	case errors.Is(err, websocket.ErrMessageTooBig):
		return errors.New("message: it is longer than 64 KiB")
	}
	return fail("message", plainOr(err, "the connection was closed too early"))
}

// plainOr keeps what tells of time, and puts a text in the place of all else, which may quote the server.
func plainOr(err error, text string) error {
	if isTimeout(err) {
		return err
	}
	return errors.New(text)
}
