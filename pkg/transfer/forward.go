package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
)

// Forwarder passes messages on to the control role of another machine.
type Forwarder struct {
	URLs   []string // as in http://192.0.2.9:8053; tried in this order
	Client *http.Client
}

// MessagePath is where Control stands on a server's HTTP port.
const MessagePath = "/dns/message"

// Forward gives the reply to a message.
func (f *Forwarder) Forward(ctx context.Context, msg []byte, source netip.AddrPort) ([]byte, error) {
	var errs []error
	for _, url := range f.URLs {
		reply, err := f.post(ctx, url+MessagePath, msg, source)
		if err == nil {
			return reply, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (f *Forwarder) post(ctx context.Context, url string, msg []byte, source netip.AddrPort) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(msg))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", messageType)
	request.Header.Set(sourceHeader, source.String())
	client := f.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 65535))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %s", url, response.Status, bytes.TrimSpace(body))
	}
	return body, err
}
