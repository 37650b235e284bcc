package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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

	"github.com/spf13/pflag"

	"github.com/gti/gtm/cmd/gtmctl/session"
	apiclient "github.com/gti/gtm/pkg/client"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/spec"
)

// client speaks to the API, and says what went wrong in words of this program.
type client struct {
	*apiclient.Client
	sent  string // where the token is from
	glass string // of every change
}

// connect reads the token and makes a client; it does not speak to the server yet.
func (a *app) connect() (*client, error) { return a.connectWithin(a.timeout) }

// connectWithin is connect, with another limit for a request; 0: none.
func (a *app) connectWithin(limit time.Duration) (*client, error) {
	if err := a.find(); err != nil { // completion comes here without start
		return nil, err
	}
	transport, err := a.links.transport(a.pin())
	if err != nil {
		return nil, err
	}
	token, sent, err := a.token()
	if err != nil {
		return nil, err
	}
	return a.client(token, sent, &http.Client{Timeout: limit, Transport: transport})
}

// client makes one for the server that was found.
func (a *app) client(token, sent string, by *http.Client) (*client, error) {
	c, err := apiclient.New(apiclient.Config{Server: a.server, Token: token, HTTP: by, UserAgent: "gtmctl/" + version})
	if err != nil {
		return nil, fmt.Errorf("--server %s is not a URL as in http://127.0.0.1:8053", a.server)
	}
	return &client{c, sent, strings.Join(strings.Fields(a.glass), " ")}, nil
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
	if a.links.cert == "" {
		return "", "", fmt.Errorf("nothing says who you are to %s, of context %s: run gtmctl login, or gtmctl context add %[2]s "+
			"--server %[1]s --token-file FILE", a.server, a.context)
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

// do is Do of the client.
func (c *client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	return c.ask(ctx, method, c.Server().JoinPath(api.Version, path), query, in, out)
}

// ask is do of a whole URL.
func (c *client) ask(ctx context.Context, method string, u *url.URL, query url.Values, in, out any) error {
	header := http.Header{}
	if c.glass != "" {
		header.Set(api.BreakGlassHeader, c.glass)
	}
	return c.told(ctx, c.Ask(ctx, method, u, query, header, in, out))
}

// told says what to do about an error, by flags.
func (c *client) told(ctx context.Context, err error) error {
	var problem *api.Problem
	var away *apiclient.UnreachableError
	var wrong *apiclient.ReplyError
	switch {
	case errors.As(err, &problem) && problem.Status == http.StatusUnauthorized:
		problem.Detail += "; sent was " + c.sent
	case errors.As(err, &away):
		return unreachable(ctx, away.Server, away.Err)
	case errors.As(err, &wrong):
		switch wrong.Why {
		case apiclient.WantsTLS:
			return fmt.Errorf("%s speaks TLS: pass --server https://%s", wrong.Server, wrong.Server.Host)
		case apiclient.Unreadable:
			return fmt.Errorf("%s answered what gtmctl cannot read (%w); is --server right, and gtmctl as new as gtmd?", wrong.Server,
				wrong.Err)
		case apiclient.TooLong, apiclient.Foreign:
			return fmt.Errorf("%w; is --server right?", wrong)
		}
	}
	return err
}

// unreachable says what to do about a request that got no reply.
func unreachable(ctx context.Context, base *url.URL, err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: is gtmd running? start it with make run or pass --server", base)
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s did not answer in time; is it the right --server? pass --timeout to wait longer", base)
	}
	if text := distrust(err); text != "" {
		return fmt.Errorf("%s %s", base, text)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("cannot reach %s: %w", base, err)
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
	if err := a.takeContext(); err != nil {
		return err
	}
	folder, named := a.data, a.data != ""
	if !named {
		folder = defaultData
	}
	own := a.tokenFile == "" && a.context == ""
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

// links say how the server is believed, and by which certificate it knows who asks.
type links struct{ pin, ca, cert, key string }

func (l *links) register(f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&l.pin, "pin", getenv("GTM_PIN"), "what the server's certificate is known by, as gtmd prints it: sha256:... (or GTM_PIN)")
	f.StringVar(&l.ca, "ca-file", getenv("GTM_CA_FILE"), "PEM file of the authority that signed the server's certificate (or GTM_CA_FILE)")
	f.StringVar(&l.cert, "cert-file", getenv("GTM_CERT_FILE"), "PEM file of a client certificate (or GTM_CERT_FILE)")
	f.StringVar(&l.key, "key-file", getenv("GTM_KEY_FILE"), "PEM file of its key (or GTM_KEY_FILE)")
}

// transport makes connections to a server that is known by a pin, or by an authority where that is empty.
func (l *links) transport(pin string) (http.RoundTripper, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if pin != "" {
		if err := secure.CheckPin(pin); err != nil {
			return nil, fmt.Errorf("--pin: %w", err)
		}
		c = secure.Pinned(pin)
	}
	if l.ca != "" {
		data, err := os.ReadFile(l.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate in PEM form", l.ca)
		}
	}
	if (l.cert == "") != (l.key == "") {
		return nil, misusef("--cert-file and --key-file go together")
	}
	if l.cert != "" {
		pair, err := tls.LoadX509KeyPair(l.cert, l.key)
		if err != nil {
			return nil, fmt.Errorf("--cert-file and --key-file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig, t.ForceAttemptHTTP2 = c, false
	return t, nil
}

// distrust says what to do about a server that is not believed; empty: that is not what went wrong.
func distrust(err error) string {
	var pin *secure.PinError
	if errors.As(err, &pin) {
		return "is not believed: " + pin.Error()
	}
	var odd *tls.CertificateVerificationError
	if !errors.As(err, &odd) || len(odd.UnverifiedCertificates) == 0 {
		return ""
	}
	return fmt.Sprintf("is not believed (%v): its key is %s; if gtmd printed that at its start, pass --pin %[2]s, or remember it with "+
		"gtmctl login", odd.Err, secure.Pin(odd.UnverifiedCertificates[0]))
}

// signed reports whether an authority of this machine signed a certificate for a host.
func signed(shown []*x509.Certificate, host string) bool {
	if len(shown) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: between})
	return err == nil
}
