// Package client speaks to the HTTP API of gtm's control. What goes over the line are the types of pkg/control/api; docs/api.md says what
// can be relied on.
//
//	c, err := client.New(client.Config{Server: "https://gtm.example.org:8053", Token: token})
//	...
//	for r, err := range c.Resources(ctx, client.Filter{Tenant: "shop", Kind: spec.KindPool}) {
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
)

// What is read of one reply, in bytes. The largest state that a server can hold is far below; what went wrong is told in less.
const (
	maxReply   = 1 << 30
	maxProblem = 16 << 20
)

// Config says where the API is, and who asks.
type Config struct {
	// Server is its URL, as in https://gtm.example.org:8053.
	Server string
	// Token is a service token, or that of a login; empty: HTTP's client certificate says who asks.
	Token string
	// HTTP makes the requests; nil: a client that waits 30 seconds for each.
	HTTP *http.Client
	// UserAgent is what requests say that they are from; empty: gtm-client.
	UserAgent string
}

// Client makes requests. It is safe for concurrent use.
type Client struct {
	cfg  Config
	base *url.URL
}

// New makes a client; it does not speak to the server yet.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.Server)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("the server %q is not a URL as in http://127.0.0.1:8053", cfg.Server)
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: 30 * time.Second}
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "gtm-client"
	}
	return &Client{cfg: cfg, base: base}, nil
}

// Server is the URL of the API, without its version.
func (c *Client) Server() *url.URL { return c.base.JoinPath() }

// Do sends in (nil: no body) as JSON to a path below the API's version, and decodes the reply into out (nil: it is not read; a *[]byte gets
// it as it is). Segments of
// the path are escaped by who calls. What the API refuses is an *api.Problem, what is no reply of it a *ReplyError, and no reply an
// *UnreachableError.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	return c.Ask(ctx, method, c.base.JoinPath(api.Version, path), query, nil, in, out)
}

// Ask is Do of a whole URL, with further headers.
func (c *Client) Ask(ctx context.Context, method string, u *url.URL, query url.Values, header http.Header, in, out any) error {
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := c.request(ctx, method, u, query, "application/json", body)
	if err != nil {
		return err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := c.cfg.HTTP.Do(request)
	if err != nil {
		return &UnreachableError{c.base, err}
	}
	defer response.Body.Close()
	return c.read(response, out)
}

func (c *Client) request(ctx context.Context, method string, u *url.URL, query url.Values, accept string, body io.Reader) (
	*http.Request, error) {
	u.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if c.cfg.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("User-Agent", c.cfg.UserAgent)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

func (c *Client) read(response *http.Response, out any) error {
	most := maxReply
	if response.StatusCode >= 300 {
		most = maxProblem
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, int64(most)+1))
	wrong := &ReplyError{Server: c.base, Status: response.Status}
	switch {
	case err != nil:
		wrong.Why, wrong.Err = BrokeOff, err
		return wrong
	case len(data) > most:
		wrong.Why, wrong.Most = TooLong, most
		return wrong
	case response.StatusCode >= 300:
		problem := &api.Problem{}
		if json.Unmarshal(data, problem) == nil && problem.Status != 0 {
			return problem
		}
		wrong.Why = Foreign
		if response.StatusCode == http.StatusBadRequest && strings.Contains(string(data), "HTTPS server") {
			wrong.Why = WantsTLS
		}
		return wrong
	case out == nil:
		return nil
	}
	if text, ok := out.(*[]byte); ok {
		*text = data
		return nil
	}
	if wrong.Err = json.Unmarshal(data, out); wrong.Err != nil {
		wrong.Why = Unreadable
		return wrong
	}
	return nil
}
