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

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// What is read of one reply, in bytes. The largest state that a server can hold is far below; what went wrong is told in less.
const (
	maxReply   = 1 << 30
	maxProblem = 16 << 20
)

// client speaks to the API.
type client struct {
	base      *url.URL
	token     string
	tokenFile string
	author    string
	http      *http.Client
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
	token, err := readToken(a.tokenFile)
	if err != nil {
		return nil, err
	}
	return &client{
		base: base, token: token, tokenFile: a.tokenFile, author: a.author,
		http: &http.Client{Timeout: a.timeout},
	}, nil
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
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "gtmctl/"+version)
	request.Header.Set(api.AuthorHeader, c.author)
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

// open begins to read a stream, behind an event that was read before.
func (c *client) open(ctx context.Context, path string, query url.Values, last string) (*http.Response, error) {
	u := c.base.JoinPath(api.Version, path)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
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
			return fmt.Errorf("%s answered %s, not as gtmd does; is --server right?", c.base, response.Status)
		}
		if problem.Status == http.StatusUnauthorized {
			problem.Detail += "; sent was that of " + c.tokenFile
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
	if own {
		a.tokenFile = filepath.Join(folder, tokenFile)
	}
	if a.server != "" {
		return nil
	}
	a.server = defaultServer
	if !own && !named {
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
			"--token-file, or set GTM_DATA or GTM_TOKEN_FILE", err)
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
