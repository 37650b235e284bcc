package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gti/gtm/bench/agree"
	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
)

// asked is how many queries are compared before anything is measured.
const asked = 2000

// agree holds the answers of each lane against those of the first, and gives a sentence. A server that answers
// something else is not to be compared: that is an error.
func (b *bench) agree(ctx context.Context, l load) (string, error) {
	first, err := b.answers(ctx, l, l.lanes[0], asked)
	if err != nil {
		return "", err
	}
	said := []string{about(l, l.lanes[0].name, first)}
	for _, lane := range l.lanes[1:] {
		if lane.isFloor() {
			continue
		}
		theirs, err := b.answers(ctx, l, lane, asked)
		if err != nil {
			return "", err
		}
		if err := agree.Compare(first, theirs, l.steers); err != nil {
			return "", fmt.Errorf("load %s, %s and %s: %w", l.name, l.lanes[0].name, lane.name, err)
		}
		said = append(said, about(l, lane.name, theirs)+sameScopes(l, first, theirs))
	}
	same := "the same answers, TTLs and response codes"
	if l.steers {
		same = "the same pool"
	}
	said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
	return strings.Join(append([]string{fmt.Sprintf("Before: for %d queries all give %s", len(first), same)}, said...), "; ") + ".", nil
}

// about says what a lane's own answers show.
func about(l load, name string, all []agree.Answer) string {
	said := ""
	if l.steers {
		said = fmt.Sprintf("%s draws the address of weight 3 of 4 in %.1f %%", name, 100*heavy(all))
	}
	if l.signed && all[0].Verified {
		said = strings.TrimPrefix(said+", ", ", ") + fmt.Sprintf("signatures of %s hold", name)
	}
	return said
}

// sameScopes says how often two lanes give an answer for the same network.
func sameScopes(l load, ours, theirs []agree.Answer) string {
	if !l.steers {
		return ""
	}
	same := 0
	for i := range ours {
		if ours[i].Scope == theirs[i].Scope {
			same++
		}
	}
	return fmt.Sprintf(", with gtm's scope in %.1f %%", 100*float64(same)/float64(len(ours)))
}

// heavy is the share of the answers that give their pool's heavier address.
func heavy(all []agree.Answer) float64 {
	n := 0
	for _, a := range all {
		if a.Addr == a.Pool.Addresses[0] {
			n++
		}
	}
	return float64(n) / float64(len(all))
}

// answers asks a lane's server the first n queries of its file. Where weights are drawn they must be drawn 3 to 1, or not
// at all; where zones are signed the signatures must hold.
func (b *bench) answers(ctx context.Context, l load, lane lane, n int) ([]agree.Answer, error) {
	at := fmt.Sprintf("127.0.0.1:%d", b.servers[lane.on].port)
	s := agree.Server{Name: lane.name, Dial: agree.UDP(at), Steers: l.steers}
	if lane.file == peers.SteeredSigned || lane.file == peers.StaticSigned {
		var err error
		if s.Keys, err = agree.ZoneKeys(at); err != nil {
			return nil, fmt.Errorf("%s: %w", lane.name, err)
		}
	}
	all, err := s.Ask(ctx, b.file(lane), n)
	if err != nil {
		return nil, fmt.Errorf("load %s, %w", l.name, err)
	}
	if share := heavy(all); n > 1 && l.steers && share != 1 && (share < 0.71 || share > 0.79) {
		return nil, fmt.Errorf("%s draws the address of weight 3 of 4 in %s of %d answers", lane.name, figures.Number(share), n)
	}
	return all, nil
}
