package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/cmd/gtmctl/session"
	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/spec"
)

// loginTime is how long a person has to log in, unless --timeout says otherwise.
const loginTime = 10 * time.Minute

func (a *app) loginCmd() *cobra.Command {
	here := false
	c := &cobra.Command{
		Use:   "login",
		Short: "Log in with a browser, and remember the server",
		Long: `Log in at the OIDC issuer of the server (gtmd --oidc-issuer), with a browser on any machine. The login is kept in a file
of your own ($GTM_CONFIG, or $XDG_CONFIG_HOME/gtm, or ~/.config/gtm), renewed as long as the issuer allows, and used where neither
--token-file nor --data says otherwise. With --browser it is a browser of this machine, to which the issuer sends you back: no code is
to be typed then, and issuers without a device flow do.

A server whose certificate no authority signed is shown by its pin, to be compared with what gtmd printed at its start, and remembered.`,
		Example: `  gtmctl login --server https://gtm.example.org:8053
  gtmctl login --server https://gtm.example.org:8053 --browser
  gtmctl login --server https://10.0.0.21:8053 --pin sha256:9f86d0...`,
		Args: needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if a.findErr != nil && !errors.Is(a.findErr, os.ErrNotExist) {
				return a.findErr
			}
			return a.logIn(c.Context(), here)
		},
	}
	c.Flags().BoolVar(&here, "browser", false, "log in with a browser of this machine")
	return c
}

func (a *app) logIn(ctx context.Context, here bool) error {
	s := session.New(session.Dir(a.getenv), a.server)
	if a.session != nil {
		s.Pin = a.session.Pin
	}
	if a.links.pin != "" {
		s.Pin = a.links.pin
	}
	base, err := url.Parse(a.server)
	if err != nil || base.Host == "" {
		return fmt.Errorf("--server %s is not a URL as in https://gtm.example.org:8053", a.server)
	}
	if base.Scheme == "https" && s.Pin == "" {
		if s.Pin, err = a.meet(ctx, base); err != nil {
			return err
		}
	}
	transport, err := a.links.transport(s.Pin)
	if err != nil {
		return err
	}
	by := &http.Client{Timeout: a.timeout, Transport: transport}
	c, err := a.client("", "nothing", by)
	if err != nil {
		return err
	}
	var login api.Login
	if err := c.do(ctx, http.MethodGet, "login", nil, nil, &login); err != nil {
		return err
	}
	patience := loginTime
	if !a.patient {
		patience = a.timeout
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if here {
		err = s.LogInHere(waiting, login, a.now, func(at string) { fmt.Fprintf(a.err, "Open %s\n", line(at)) })
	} else {
		err = s.LogIn(waiting, login, a.now, a.showCode)
	}
	if err != nil {
		return err
	}
	if err := s.Save(); err != nil {
		return fmt.Errorf("the login could not be kept: %w", err)
	}
	if c, err = a.client(s.ID, "the login", by); err != nil {
		return err
	}
	var me api.Whoami
	if err := c.do(ctx, http.MethodGet, "whoami", nil, nil, &me); err != nil {
		return err
	}
	return a.emit(me, func() {
		a.printf("logged in to %s as %s\n", a.server, line(me.Name))
		a.showRoles(&me)
	})
}

func (a *app) showCode(at, code, whole string) {
	fmt.Fprintf(a.err, "Open %s and type the code %s\n", line(at), line(code))
	if whole != "" {
		fmt.Fprintf(a.err, "or open %s\n", line(whole))
	}
}

// meet looks at the certificate of a server that is not known yet. It gives its pin, if no authority signed it and the person says that
// it is the right one.
func (a *app) meet(ctx context.Context, base *url.URL) (pin string, err error) {
	at := base.Host
	if base.Port() == "" {
		at = net.JoinHostPort(base.Hostname(), "443")
	}
	dialing, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, ServerName: base.Hostname()}}).
		DialContext(dialing, "tcp", at)
	if err != nil {
		return "", unreachable(ctx, base, err)
	}
	defer conn.Close()
	shown := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if a.links.ca != "" || signed(shown, base.Hostname()) {
		return "", nil // an authority is to be asked as ever
	}
	pin = secure.Pin(shown[0])
	fmt.Fprintf(a.err,
		"No authority known here signed the certificate of %s. Its key is\n  %s\nIs that what gtmd printed at its start (yes/no)? ",
		base, pin)
	answer, _ := bufio.NewReader(a.in).ReadString('\n')
	if strings.TrimSpace(answer) != "yes" {
		return "", fmt.Errorf("%s is not believed; if its key is right, pass --pin %s", base, pin)
	}
	return pin, nil
}

func (a *app) logoutCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "logout",
		Short:   "Forget a login",
		Long:    `Forget the login to the server. What its certificate is known by stays.`,
		Example: "  gtmctl logout --server https://gtm.example.org:8053",
		Args:    needArgs(0, 0),
		RunE: func(*cobra.Command, []string) error {
			if !a.session.LoggedIn() {
				return fmt.Errorf("nobody is logged in to %s", a.server)
			}
			s := a.session
			s.ID, s.Refresh, s.Expires = "", "", time.Time{}
			if err := s.Save(); err != nil {
				return err
			}
			a.printf("logged out of %s\n", a.server)
			return nil
		},
	}
}

func (a *app) whoamiCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "whoami",
		Short:   "Tell who you are to the server, and what you may do",
		Example: "  gtmctl whoami",
		Args:    needArgs(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var me api.Whoami
			if err := a.call(c.Context(), http.MethodGet, "whoami", nil, nil, &me); err != nil {
				return err
			}
			return a.emit(me, func() {
				a.printf("%s\n", line(me.Name))
				for _, s := range me.Subjects {
					if s != me.Name {
						a.printf("  %s\n", line(s))
					}
				}
				a.showRoles(&me)
			})
		},
	}
}

func (a *app) showRoles(me *api.Whoami) {
	if len(me.Roles) == 0 {
		fmt.Fprintln(a.err, "you have no role in any tenant yet: ask an admin of one for an Access that names you")
	}
	for _, tenant := range slices.Sorted(maps.Keys(me.Roles)) {
		if tenant == "*" {
			a.printf("%s of every tenant but %s\n", me.Roles[tenant], spec.Platform)
			continue
		}
		a.printf("%s of %s\n", me.Roles[tenant], tenant)
	}
	if !me.Expires.IsZero() {
		a.printf("until %s\n", me.Expires.UTC().Format(time.RFC3339))
	}
}

// grantedZone is what is granted to a tenant in a zone of the platform.
type grantedZone struct {
	api.GrantedZone
	tenant string
}

// mostAsked is of how many tenants it is asked what is granted to them: each is a request.
const mostAsked = 100

// grantedZones asks what is granted to a tenant in zones of the platform, or to all in which who asks has a role. heads are of the tenants
// that they see. A control that is too old to know tells of none.
func (a *app) grantedZones(ctx context.Context, tenant string, heads map[string]uint64) (all []grantedZone, err error) {
	tenants := []string{tenant}
	if tenant == "" {
		if tenants, err = a.ownTenants(ctx, heads); err != nil {
			return nil, err
		}
	}
	if more := len(tenants) - mostAsked; more > 0 {
		tenants = tenants[:mostAsked]
		fmt.Fprintf(a.err, "zones are asked for of the first %d tenants, and not of %d more\n", mostAsked, more)
	}
	for _, name := range tenants {
		var out api.GrantedZones
		err := a.call(ctx, http.MethodGet, "tenants/"+url.PathEscape(name)+"/zones", nil, nil, &out)
		if err != nil && !isMissing(err) {
			return nil, err
		}
		for _, z := range out.Zones {
			all = append(all, grantedZone{z, name})
		}
	}
	return all, nil
}

// ownTenants names those in which who asks has a role. Who has one in the platform sees its zones themselves, and has none to ask of.
func (a *app) ownTenants(ctx context.Context, heads map[string]uint64) ([]string, error) {
	var me api.Whoami
	if err := a.call(ctx, http.MethodGet, "whoami", nil, nil, &me); err != nil {
		return nil, err
	}
	if me.Roles[spec.Platform] != "" {
		return nil, nil
	}
	if me.Roles[access.All] != "" {
		for tenant := range heads {
			me.Roles[tenant] = me.Roles[access.All]
		}
	}
	delete(me.Roles, access.All)
	return slices.Sorted(maps.Keys(me.Roles)), nil
}

// isMissing reports whether the API says that what was asked for is not there.
func isMissing(err error) bool {
	var problem *api.Problem
	return errors.As(err, &problem) && problem.Status == http.StatusNotFound
}

func (a *app) showGranted(zones []grantedZone) {
	rows := make([][]string, 0, len(zones))
	for _, z := range zones {
		rows = append(rows, []string{z.Zone, clip(strings.Join(z.Names, " "))})
	}
	a.table([]string{"zone", "granted in it"}, rows)
	fmt.Fprintln(a.err, "zones are the platform's: you see which names in them are yours")
}
