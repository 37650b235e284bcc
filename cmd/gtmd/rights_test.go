package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/prune"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/tokens"
)

// lockedEtcd is an etcd that knows its clients by their certificates, with the rights that docs/operating.md lists.
type lockedEtcd struct {
	t    *testing.T
	dir  string
	url  string
	key  *ecdsa.PrivateKey // of the authority
	cert *x509.Certificate
}

func newLockedEtcd(t *testing.T) *lockedEtcd {
	t.Helper()
	l := &lockedEtcd{t: t, dir: newDir(t)}
	l.issue("ca")
	l.issue("etcd")
	cfg := embed.NewConfig()
	client, peer := url.URL{Scheme: "https", Host: "127.0.0.1:0"}, url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	cfg.Name, cfg.Dir = "one", filepath.Join(l.dir, "data")
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = nil, []url.URL{peer}
	cfg.InitialCluster = "one=" + peer.String()
	cfg.EnableGRPCGateway = false // it would be a client itself
	cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = l.file("etcd.pem"), l.file("etcd.key")
	cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = l.file("ca.pem"), true
	cfg.MaxTxnOps, cfg.MaxRequestBytes = 8192, 32<<20
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(within):
		t.Fatal("etcd does not start")
	}
	l.url = "https://" + e.Clients[0].Addr().String()
	return l
}

func (l *lockedEtcd) file(name string) string { return filepath.Join(l.dir, name) }

// issue writes a certificate for a name with its key; the first one is the authority.
func (l *lockedEtcd) issue(name string) {
	l.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if l.cert == nil {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
		l.cert, l.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, l.cert, &key.PublicKey, l.key)
	if err != nil {
		l.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		l.t.Fatal(err)
	}
	writeFile(l.t, l.file(name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(l.t, l.file(name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

// asTold runs the commands for etcd of docs/operating.md, as root, with the real etcdctl.
func (l *lockedEtcd) asTold() {
	l.t.Helper()
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		l.t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### Least rights")
	section, _, _ = strings.Cut(section, "\n## ")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", l.file("etcdctl"), "go.etcd.io/etcd/etcdctl/v3")
	if out, err := build.CombinedOutput(); err != nil {
		l.t.Fatalf("etcdctl cannot be built: %v\n%s", err, out)
	}
	l.issue("root")
	ran := 0
	for line := range strings.Lines(section) {
		words, ok := strings.CutPrefix(line, "    etcdctl ")
		if !ok {
			continue
		}
		if strings.Contains(words, "gtm-judge") && strings.HasPrefix(words, "user grant-role prober-fra") {
			words = strings.Replace(words, "prober-fra", "judge", 1) // of another prober, so that one is left that only observes
		}
		c := exec.CommandContext(limited(l.t), l.file("etcdctl"), strings.Fields(words)...)
		c.Env = append(os.Environ(), "ETCDCTL_ENDPOINTS="+l.url, "ETCDCTL_CACERT="+l.file("ca.pem"),
			"ETCDCTL_CERT="+l.file("root.pem"), "ETCDCTL_KEY="+l.file("root.key"))
		if out, err := c.CombinedOutput(); err != nil {
			l.t.Fatalf("etcdctl %s: %v\n%s", words, err, out)
		}
		if ran++; strings.HasPrefix(words, "user add prober-fra") { // the other prober, in the same way
			for _, more := range []string{"role add gtm-vantage-nyc",
				"role grant-permission gtm-vantage-nyc readwrite --prefix /gtm/world/obs/nyc/",
				"role grant-permission gtm-vantage-nyc readwrite /gtm/world/vantage/nyc", "user add judge --no-password",
				"user grant-role judge gtm-follow", "user grant-role judge gtm-observe", "user grant-role judge gtm-vantage-nyc"} {
				m := exec.CommandContext(limited(l.t), l.file("etcdctl"), strings.Fields(more)...)
				m.Env = c.Env
				if out, err := m.CombinedOutput(); err != nil {
					l.t.Fatalf("etcdctl %s: %v\n%s", more, err, out)
				}
			}
		}
	}
	if ran < 30 {
		l.t.Fatalf("docs/operating.md has only %d commands for etcd", ran)
	}
	for _, name := range []string{"fra1", "prober-fra", "judge", "control", "nobody"} {
		l.issue(name)
	}
}

// TestTheScriptGivesTheRightsThatTheManualTells, which TestEachRoleWorksWithItsLeastRights tries; and it refuses what is no name.
func TestTheScriptGivesTheRightsThatTheManualTells(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### Least rights")
	section, _, _ = strings.Cut(section, "\n## ")
	var told, printed []string
	for line := range strings.Lines(section) {
		if words, ok := strings.CutPrefix(line, "    etcdctl "); ok {
			told = append(told, "etcdctl "+strings.TrimSpace(words))
		}
	}
	for _, args := range [][]string{{"setup"}, {"edge", "fra1"}, {"prober", "fra", "judge"}, {"control"}, {"enable"}} {
		out, err := exec.CommandContext(limited(t), "../../deploy/etcd/rights", args...).Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		printed = append(printed, strings.Split(strings.TrimSpace(string(out)), "\n")...)
	}
	slices.Sort(told)
	slices.Sort(printed)
	if len(told) < 30 || !slices.Equal(told, printed) {
		t.Errorf("the manual tells\n%s\nand the script\n%s", strings.Join(told, "\n"), strings.Join(printed, "\n"))
	}
	for _, args := range [][]string{{}, {"edge"}, {"edge", "a b"}, {"edge", "a;b"}, {"prober", "fra", "all"}, {"edge", "fra1", "judge"}} {
		if out, err := exec.CommandContext(limited(t), "../../deploy/etcd/rights", args...).Output(); err == nil || len(out) > 0 {
			t.Errorf("%v: %s", args, out)
		}
	}
}

// flags are those by which a gtmd is a user.
func (l *lockedEtcd) flags(user string, more ...string) []string {
	return append(more, "--etcd", l.url, "--etcd-ca", l.file("ca.pem"), "--etcd-cert", l.file(user+".pem"), "--etcd-key",
		l.file(user+".key"))
}

func (l *lockedEtcd) tls(user string) *tls.Config {
	l.t.Helper()
	pair, err := tls.LoadX509KeyPair(l.file(user+".pem"), l.file(user+".key"))
	if err != nil {
		l.t.Fatal(err)
	}
	ca, err := os.ReadFile(l.file("ca.pem"))
	if err != nil {
		l.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

func (l *lockedEtcd) store(user string) *store.Client {
	l.t.Helper()
	c, err := store.Open(limited(l.t), store.Config{Endpoints: []string{l.url}, TLS: l.tls(user)})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (l *lockedEtcd) client(user string) *clientv3.Client {
	l.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{l.url}, TLS: l.tls(user), Logger: zap.NewNop()})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestEachRoleWorksWithItsLeastRights: an edge's access to etcd was access to everything, verdicts on endpoints among it. The real
// roles run with the rights that the manual lists, and are refused what is another's.
func TestEachRoleWorksWithItsLeastRights(t *testing.T) {
	t.Parallel()
	l := newLockedEtcd(t)
	l.asTold()
	dir := newDir(t)
	control := start(t, dir, l.flags("control", "--roles", "control", "--apply", writeConfig(t, "198.51.100.1"))...)
	edge := start(t, newDir(t), l.flags("fra1", "--roles", "edge", "--id", "fra1")...)
	observer := start(t, newDir(t), l.flags("prober-fra", "--roles", "prober", "--vantage", "fra", "--observe-only")...)
	judge := start(t, newDir(t), l.flags("judge", "--roles", "prober", "--vantage", "nyc")...)
	edge.comesToAnswer(webHost, "198.51.100.1")
	edge.sourceIs(state.Current)
	for _, p := range []*daemon{observer, judge} {
		p.eventually("the prober is ready", func() error {
			if code, body := p.get("/readyz"); code != 200 {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
	}
	edge.eventually("the judge writes, and the edge hears it", func() error {
		if h := edge.status().Health; h == nil || h.Judge != "nyc" {
			return fmt.Errorf("%+v", h)
		}
		return nil
	})
	control.eventually("control lists and asks them", func() error {
		_, body := control.get("/metrics")
		if !strings.Contains(body, `gtm_control_edges{state="alive"} 1`) {
			return errors.New("it does not")
		}
		return nil
	})
	l.isRefused()
	edge.interrupt() // it takes its key away
	judge.interrupt()
	observer.interrupt()
	control.interrupt() // it is elected to what is tried below
	for _, d := range []*daemon{control, edge, observer, judge} {
		if strings.Contains(d.log.String(), "permission denied") {
			t.Errorf("a role lacks a right:\n%s", d.log)
		}
	}
	l.seldom()
}

// isRefused tries what each user must not do.
func (l *lockedEtcd) isRefused() {
	l.t.Helper()
	for user, keys := range map[string][]string{
		"nobody": {"config/epoch", "world/edge/fra1", "access/token/shop/ci"},
		"fra1": {"access/token/shop/ci", "config/epoch", "config/head/shop", "verdict/shop/eu", "verdict/pulse", "world/edge/fra2",
			"world/known/fra2",
			"world/edge/fra11", "world/judge/1", "world/prune/pruner/1", "config/oldest/shop", "config/swept",
			"world/obs/fra/shop/eu", "world/vantage/fra", "world/release/shop",
			"world/signal/shop/eu/00", "world/approval/shop/a"},
		"prober-fra": {"access/token/shop/ci", "config/epoch", "verdict/shop/eu", "verdict/pulse", "world/edge/fra1",
			"world/obs/nyc/shop/eu", "world/vantage/nyc", "world/judge/1", "world/release/shop", "world/signal/shop/eu/00",
			"world/prune/pruner/1", "config/oldest/shop", "world/approval/shop/a"},
		"judge": {"access/token/shop/ci", "config/epoch", "world/edge/fra1", "world/known/fra1", "world/obs/fra/shop/eu",
			"world/vantage/fra",
			"world/signal/shop/eu/00", "world/approval/shop/a"},
		"control": {"world/edge/fra1", "world/vantage/fra", "world/judge/1"},
	} {
		c := l.client(user)
		for _, key := range keys {
			if _, err := c.Put(limited(l.t), store.DefaultPrefix+key, "x"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
				l.t.Errorf("%s writes %s: %v", user, key, err)
			}
		}
	}
	if _, err := l.client("control").Put(limited(l.t), store.DefaultPrefix+"world/signal/shop/eu/00", "x"); err != nil {
		l.t.Errorf("control writes no signals: %v", err)
	}
	for user, keys := range map[string][]string{"nobody": {"config/", "world/", "access/"}, "fra1": {"access/", "world/edge/", "world/obs/",
		"world/judge/"},
		"prober-fra": {"access/", "world/known/", "world/judge/"}, "judge": {"access/", "world/known/"}} {
		c := l.client(user)
		for _, key := range keys {
			if _, err := c.Get(limited(l.t), store.DefaultPrefix+key, clientv3.WithPrefix()); !errors.Is(err,
				rpctypes.ErrPermissionDenied) {
				l.t.Errorf("%s reads %s: %v", user, key, err)
			}
		}
	}
	err := l.store("fra1").Accept(limited(l.t), "an edge")
	if err == nil || !strings.Contains(err.Error(), "the user of --etcd-cert lacks that right") {
		l.t.Errorf("an edge accepts a store: %v", err)
	}
}

// seldom does what control and the judge do now and then, with their rights.
func (l *lockedEtcd) seldom() {
	l.t.Helper()
	control, judge, observer := l.store("control"), l.store("judge"), l.store("prober-fra")
	ctx := limited(l.t)
	pool := health.PoolID{Tenant: "shop", Pool: "eu"}
	verdict := health.Verdict{Pool: pool, Judge: "nyc"}
	release := store.Release{Tenant: "shop", Pool: "eu", Time: time.Now().UTC(), Author: "token", Reason: "r"}
	check := func(what string, err error) {
		l.t.Helper()
		if err != nil {
			l.t.Errorf("%s: %v", what, err)
		}
	}
	check("accept", control.Accept(ctx, "token"))
	check("make a token", control.Tokens().Create(ctx, tokens.Token{Tenant: "shop", Name: "ci", ID: "x"}, 1))
	check("revoke it", control.Tokens().Delete(ctx, tokens.Key{Tenant: "shop", Name: "ci"}))
	now := time.Now()
	check("have a change wait", control.PutPending(ctx, store.Pending{Tenant: "shop", ID: "a", Time: now, Expires: now.Add(time.Hour)}))
	check("end its wait", control.DropPending(ctx, "shop", "a"))
	check("forget an edge", control.ForgetEdge(ctx, "fra1"))
	check("put back edges", control.PutBackEdges(ctx, []store.Edge{{ID: "fra1"}}))
	_, err := control.PutBack(ctx, nil, []health.Verdict{verdict})
	check("put back verdicts", err)
	check("observe", observer.PutObservation(ctx, health.Observation{Vantage: "fra", Pool: pool}))
	check("stop observing", observer.DeleteObservation(ctx, "fra", pool))
	check("observe again", observer.PutObservation(ctx, health.Observation{Vantage: "fra", Pool: pool}))
	_, err = control.ForgetVantage(ctx, "fra")
	check("forget a vantage", err)
	check("release", control.PutRelease(ctx, release, time.Minute))
	check("withdraw", control.WithdrawRelease(ctx, release))
	check("release again", control.PutRelease(ctx, release, time.Minute))
	leading, done := context.WithCancel(ctx)
	err = judge.Campaign(leading, "nyc", func(ctx context.Context) error {
		check("verdict", judge.PutVerdicts(ctx, []health.Verdict{verdict}))
		check("no verdict", judge.DeleteVerdict(ctx, pool))
		check("pulse", judge.PutPulse(ctx, state.Pulse{Judge: "nyc"}))
		check("follow a release", judge.TakeRelease(ctx, release))
		done()
		return nil
	})
	if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
		l.t.Errorf("the judge's term: %v, %v", err, ctx.Err())
	}
	pruning, pruned := context.WithCancel(ctx)
	err = control.CampaignPruner(pruning, "one", func(ctx context.Context, p *prune.Pruner) error {
		_, err := p.Tenant(ctx, spec.Platform, prune.Keep{Before: time.Now().Add(time.Hour), Least: 1},
			func([]state.Record) error { return nil })
		check("remove what is old", err)
		rev, err := p.Revision(ctx)
		check("remove zone content", err)
		_, err = p.Sweep(ctx, rev, ctx.Err)
		check("remove zone content", err)
		pruned()
		return nil
	})
	if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
		l.t.Errorf("the pruner's term: %v, %v", err, ctx.Err())
	}
	finding, over := context.WithCancel(ctx)
	err = control.CampaignFinder(finding, "one", func(ctx context.Context) error {
		check("find", control.PutFound(ctx, spec.Found{Tenant: "shop", Pool: "eu", Source: "a"}))
		check("push", control.PushFound(ctx, spec.Found{Tenant: "shop", Pool: "eu", Source: "b"}))
		_, err := control.HasFound(ctx, spec.Found{Tenant: "shop", Pool: "eu", Source: "b"})
		check("push the same", err)
		check("find no more", control.DropFound(ctx, state.SourceID{Tenant: "shop", Pool: "eu", Source: "a"}))
		over()
		return nil
	})
	if !errors.Is(err, context.Canceled) || ctx.Err() != nil {
		l.t.Errorf("the finder's term: %v, %v", err, ctx.Err())
	}
}
