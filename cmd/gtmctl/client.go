package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gti/gtm/cmd/gtmctl/session"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/spec"
)

// What is read of one reply, in bytes. The largest state that a server can hold is far below; what went wrong is told in less.
const (
	maxReply   = 1 << 30
	maxProblem = 16 << 20
)

// client speaks to the API.
type client struct {
	base  *url.URL
	token string
	sent  string // where the token is from
	glass string // of every change
	http  *http.Client
}

// connect reads the token and makes a client; it does not speak to the server yet.
func (a *app) connect() (*client, error) {
	if err := a.find(); err != nil { // completion comes here without start
		return nil, err
	}
	base, err := url.Parse(a.server)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("--server %s is not a URL as in http://127.0.0.1:8053", a.server)
	}
	client := &client{base: base, glass: strings.Join(strings.Fields(a.glass), " "), http: &http.Client{Timeout: a.timeout}}
	if client.http.Transport, err = a.links.transport(a.pin()); err != nil {
		return nil, err
	}
	client.token, client.sent, err = a.token()
	return client, err
}

// token gives what tells the server who asks, and where it is from; empty: a client certificate does.
func (a *app) token() (token, from string, err error) {
	if a.tokenFile != "" {
		token, err = readToken(a.tokenFile)
		return token, "that of " + a.tokenFile, err
	}
	if a.session.LoggedIn() {
		token, err = a.freshToken()
		return token, "the login of " + a.session.Path(), err
	}
	return "", "no token, but the certificate of " + a.links.cert, nil
}

// freshToken gives the token of a login, a new one where that is over.
func (a *app) freshToken() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	return a.session.Token(ctx, a.now())
}

// pin gives what the server is known by; empty: by an authority.
func (a *app) pin() string {
	switch {
	case a.links.pin != "":
		return a.links.pin
	case a.session != nil && a.session.Pin != "":
		return a.session.Pin
	case a.links.ca == "" && a.folder != "":
		pin, err := secure.PinOf(filepath.Join(a.folder, secure.CertFile))
		if err == nil { // else gtmd made none itself
			return pin
		}
	}
	return ""
}

// call connects and does one request.
func (a *app) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	return c.do(ctx, method, path, query, in, out)
}

// do sends in (nil: no body) as JSON to a path below the API's version, and decodes the reply into out (nil: ignored).
// An error that the API tells is an *api.Problem.
func (c *client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	return c.ask(ctx, method, c.base.JoinPath(api.Version, path), query, in, out)
}

// ask is do of a whole URL.
func (c *client) ask(ctx context.Context, method string, u *url.URL, query url.Values, in, out any) error {
	u.RawQuery = query.Encode()
	var body io.Reader
	if in != nil {
		encoded, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return err
	}
	c.authorize(request)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "gtmctl/"+version)
	if c.glass != "" {
		request.Header.Set(api.BreakGlassHeader, c.glass)
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer response.Body.Close()
	return c.read(response, out)
}

func (c *client) authorize(r *http.Request) {
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
}

// open begins to read a stream, behind an event that was read before.
func (c *client) open(ctx context.Context, path string, query url.Values, last string) (*http.Response, error) {
	u := c.base.JoinPath(api.Version, path)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	c.authorize(request)
	request.Header.Set("Accept", "text/event-stream")
	request.Header.Set("User-Agent", "gtmctl/"+version)
	if last != "" {
		request.Header.Set("Last-Event-ID", last)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, c.read(response, nil)
	}
	return response, nil
}

func (c *client) read(response *http.Response, out any) error {
	most := maxReply
	if response.StatusCode >= 300 {
		most = maxProblem
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, int64(most)+1))
	if err != nil {
		return fmt.Errorf("the reply of %s broke off: %w", c.base, err)
	}
	if len(data) > most {
		return fmt.Errorf("the reply of %s (%s) has more than %d MiB, which gtmd does not send; is --server right?",
			c.base, response.Status, most>>20)
	}
	if response.StatusCode >= 300 {
		problem := &api.Problem{}
		if json.Unmarshal(data, problem) != nil || problem.Status == 0 {
			if response.StatusCode == http.StatusBadRequest && strings.Contains(string(data), "HTTPS server") {
				return fmt.Errorf("%s speaks TLS: pass --server https://%s", c.base, c.base.Host)
			}
			return fmt.Errorf("%s answered %s, not as gtmd does; is --server right?", c.base, response.Status)
		}
		if problem.Status == http.StatusUnauthorized {
			problem.Detail += "; sent was " + c.sent
		}
		return problem
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s answered what gtmctl cannot read (%w); is --server right, and gtmctl as new as gtmd?", c.base, err)
	}
	return nil
}

// unreachable says what to do about a request that got no reply.
func (c *client) unreachable(ctx context.Context, err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is gtmd running? start it with make run or pass --server", c.base)
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s did not answer in time; is it the right --server? pass --timeout to wait longer", c.base)
	}
	if text := distrust(err); text != "" {
		return fmt.Errorf("%s %s", c.base, text)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("cannot reach %s: %w", c.base, err)
}

// patience is how long the server may take over resources.
func (a *app) patience(resources []*spec.Resource) time.Duration {
	if !a.patient {
		return a.timeout
	}
	content := 0
	for _, r := range resources {
		if z, ok := r.Spec.(*spec.Zone); ok {
			content += len(z.Content)
		}
	}
	return a.timeout + time.Duration(len(resources))*10*time.Millisecond + time.Duration(content>>20)*2*time.Second
}

// Where gtmd is looked for without --server and --data.
const (
	defaultServer = "http://127.0.0.1:8053"
	defaultData   = "data"
)

// files of a data folder that gtmctl reads.
const (
	tokenFile   = "token"
	addressFile = "api" // gtmd keeps there the URL of its API
)

// maxToken and maxAddress bound what is read of them, in bytes.
const (
	maxToken   = 4096
	maxAddress = 4096
)

// find decides on server and token where no flag and no variable names them: gtmd leaves both in its data folder. The address there is
// taken only with the token from there, or where the folder was named: what lies about in the present folder must not say
// where a token of somewhere else is sent.
func (a *app) find() error {
	if !a.found {
		a.found, a.findErr = true, a.findIn()
	}
	return a.findErr
}

func (a *app) findIn() error {
	folder, named := a.data, a.data != ""
	if !named {
		folder = defaultData
	}
	own := a.tokenFile == ""
	if own || named {
		a.folder = folder
	}
	if err := a.findServer(folder, own || named); err != nil {
		return err
	}
	var err error
	if a.session, err = session.Load(session.Dir(a.getenv), a.server); err != nil {
		return err
	}
	if own && (named || !a.session.LoggedIn() && a.links.cert == "") {
		a.tokenFile = filepath.Join(folder, tokenFile)
	}
	return nil
}

// findServer decides on the server; look: the data folder may tell.
func (a *app) findServer(folder string, look bool) error {
	if a.server != "" {
		return nil
	}
	a.server = defaultServer
	if !look {
		return nil
	}
	address, err := readSmall(filepath.Join(folder, addressFile), maxAddress)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot read where the API is: %w; pass --server", err)
	}
	a.server = strings.TrimSpace(address)
	return nil
}

// readToken reads the token, and says what is wrong with a file that cannot hold one.
func readToken(path string) (string, error) {
	text, err := readSmall(path, maxToken)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read the API's token: %w; gtmd keeps it in the file token of its data folder: pass --data or "+
			"--token-file, or set GTM_DATA or GTM_TOKEN_FILE; or run gtmctl login", err)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the API's token: %w; pass the right file with --token-file", err)
	}
	token := strings.TrimSpace(text)
	switch {
	case token == "":
		return "", fmt.Errorf("%s holds no token: it is empty; pass the file token of gtmd's data folder with --token-file", path)
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", fmt.Errorf("%s holds no token: that is one word on one line; pass the file token of gtmd's data folder with "+
			"--token-file",
			path)
	}
	return token, nil
}

func readSmall(path string, most int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return string(data), err
}
