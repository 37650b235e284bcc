//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// The places that the service of lands tells apart, the narrower first. What is in none of them is elsewhere.
var lands = append(strings.Fields(`EU-DE EU-GB EU-FR EU-NL EU-SE EU-ES EU-IT EU-PL EU-CH EU-BE EU-FI EU-NO EU-CZ EU-RO EU-UA
	NA-US NA-CA NA-MX AS-IN AS-JP AS-CN AS-HK AS-SG AS-KR AS-ID AS-VN AS-TR OC-AU OC-NZ SA-BR SA-AR SA-CO AF-ZA AF-EG AF-NG`),
	"EU", "NA", "AS", "OC", "SA", "AF", "AN")

const elsewhere = "elsewhere"

// The service of lands, and the address that its answer has for each land.
const landsHost = "by.shop.gtm.test."

// landOf gives the land that a place is in.
func landOf(place string) string {
	for _, land := range lands {
		if place == land || strings.HasPrefix(place, land+"-") {
			return land
		}
	}
	return elsewhere
}

// landsAddr is the address of a land's only endpoint.
func landsAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}) }

// landByAddr is the way back.
func landByAddr(addr netip.Addr) string {
	switch i := int(addr.As4()[3]) - 1; {
	case i >= 0 && i < len(lands):
		return lands[i]
	case i == len(lands):
		return elsewhere
	}
	return "no land has " + addr.String()
}

// landsJob writes the resources of the service of lands, with one pool for each, and gives the file.
func landsJob(t *testing.T) string {
	t.Helper()
	var b, rules strings.Builder
	b.WriteString("kind: Zone\ntenant: platform\nname: gtm.test.\n" +
		"spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.test., grants: {shop: [shop.gtm.test.]}}\n")
	for i, land := range append(lands[:len(lands):len(lands)], elsewhere) {
		pool := strings.ToLower(land)
		fmt.Fprintf(&b, "---\nkind: Pool\ntenant: shop\nname: %s\nspec: {endpoints: [{name: a, addresses: [%s]}]}\n", pool, landsAddr(i))
		if land == elsewhere {
			fmt.Fprintf(&rules, "    - {name: %s, pools: [%s]}\n", pool, pool)
		} else {
			fmt.Fprintf(&rules, "    - {name: %s, when: {geo: [%s]}, pools: [%s]}\n", pool, land, pool)
		}
	}
	fmt.Fprintf(&b, "---\nkind: Service\ntenant: shop\nname: by\nspec:\n  host: %s\n  ttl: 10m\n  rules:\n%s", landsHost, rules.String())
	return writeFile(t, t.TempDir(), "lands.yaml", b.String())
}

// A questioner asks one server over one UDP socket, one question at a time.
type questioner struct {
	conn *dns.Conn
	id   uint16
}

func newQuestioner(t *testing.T, server netip.AddrPort) *questioner {
	t.Helper()
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &questioner{conn: &dns.Conn{Conn: conn, UDPSize: 4096}}
}

// ask asks for the addresses of a host as the client network, three times at most.
func (q *questioner) ask(host string, client netip.Prefix) (*dns.Msg, error) {
	var err error
	for range 3 {
		var reply *dns.Msg
		if reply, err = q.askOnce(host, client); err == nil {
			return reply, nil
		}
	}
	return nil, fmt.Errorf("%s for %s: %w", host, client, err)
}

func (q *questioner) askOnce(host string, client netip.Prefix) (*dns.Msg, error) {
	q.id++
	query := new(dns.Msg).SetQuestion(host, dns.TypeA)
	query.Id = q.id
	query.SetEdns0(1232, false)
	family := uint16(1)
	if client.Addr().Is6() {
		family = 2
	}
	query.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family,
		SourceNetmask: uint8(client.Bits()), Address: client.Addr().AsSlice()}}
	if err := q.conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if err := q.conn.WriteMsg(query); err != nil {
		return nil, err
	}
	for {
		reply, err := q.conn.ReadMsg()
		if err != nil || reply.Id == query.Id {
			return reply, err
		}
	}
}

// askLand asks for the land of a client network, and the scope of the answer.
func (q *questioner) askLand(client netip.Prefix) (land string, scope int, err error) {
	reply, err := q.ask(landsHost, client)
	if err != nil {
		return "", 0, err
	}
	if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 1 {
		return "", 0, fmt.Errorf("%s for %s: %s with %d answers", landsHost, client, dns.RcodeToString[reply.Rcode], len(reply.Answer))
	}
	a, ok := reply.Answer[0].(*dns.A)
	if !ok {
		return "", 0, fmt.Errorf("%s for %s: %s", landsHost, client, reply.Answer[0])
	}
	addr, _ := netip.AddrFromSlice(a.A.To4())
	if scope, err = scopeOf(reply); err != nil {
		return "", 0, fmt.Errorf("%s for %s: %w", landsHost, client, err)
	}
	return landByAddr(addr), scope, nil
}

// scopeOf gives the scope of an answer to a client subnet.
func scopeOf(reply *dns.Msg) (int, error) {
	opt := reply.IsEdns0()
	if opt == nil {
		return 0, errors.New("no EDNS in the reply")
	}
	for _, option := range opt.Option {
		if subnet, ok := option.(*dns.EDNS0_SUBNET); ok {
			return int(subnet.SourceScope), nil
		}
	}
	return 0, errors.New("no client subnet in the reply")
}
