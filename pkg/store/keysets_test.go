package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

func TestKeysetsAreFollowed(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	f := follow(t, c, nil)
	f.untilState(state.Current)
	for _, ks := range []dnssec.Keyset{storetest.KeysetOf("a.example.", 1), storetest.KeysetOf("b.example.", 1),
		storetest.KeysetOf("a.example.", 2)} {
		if err := c.PutKeyset(ctx, ks); err != nil {
			t.Fatal(err)
		}
	}
	f.until("the keysets", func() bool { return f.mirror.Keysets()["a.example."].Serial == 2 })
	want := map[string]dnssec.Keyset{"a.example.": storetest.KeysetOf("a.example.", 2), "b.example.": storetest.KeysetOf("b.example.", 1)}
	if diff := cmp.Diff(want, f.mirror.Keysets()); diff != "" {
		t.Errorf("-want +held:\n%s", diff)
	}
	put(t, c, c.keys.Keyset("a.example."), "{broken")
	put(t, c, c.keys.Keyset("c.example."), `{"zone":"other."}`)
	if err := c.DeleteKeyset(ctx, "b.example.", 1); err != nil {
		t.Fatal(err)
	}
	f.until("the end of one", func() bool { return len(f.mirror.Keysets()) == 1 })
	if diff := cmp.Diff(storetest.KeysetOf("a.example.", 2), f.mirror.Keysets()["a.example."]); diff != "" {
		t.Errorf("one that is not understood does not leave the one before in force:\n%s", diff)
	}
	f.stop()
	put(t, c, c.keys.Keyset("a.example."), `{"zone":"a.example.","serial":3}`)
	f = follow(t, c, nil)
	f.until("all of it", func() bool { return f.mirror.Keysets()["a.example."].Serial == 3 })
	if _, err := c.Keyset(ctx, "c.example."); err == nil || !strings.Contains(err.Error(), "other.") {
		t.Errorf("read what is under another's key: %v", err)
	}
}

func TestKeysetsAfterCompaction(t *testing.T) {
	direct, ctx := testClient(t), storetest.Context(t)
	p := newProxy(t, strings.TrimPrefix(sharedEndpoint(t), "unix://"))
	c := openTest(t, Config{Endpoints: []string{"http://" + p.addr}, Prefix: direct.cfg.Prefix})
	for _, zone := range []string{"same.", "new.", "gone."} {
		if err := direct.PutKeyset(ctx, storetest.KeysetOf(zone, 1)); err != nil {
			t.Fatal(err)
		}
	}
	f := follow(t, c, nil)
	f.untilState(state.Current)
	p.blackhole()
	f.untilState(state.Stale)
	if err := errors.Join(direct.PutKeyset(ctx, storetest.KeysetOf("new.", 2)), direct.DeleteKeyset(ctx, "gone.", 1)); err != nil {
		t.Fatal(err)
	}
	compact(t, direct)
	p.open()
	f.until("the news", func() bool { return f.mirror.Keysets()["new."].Serial == 2 })
	told := f.told()[1]
	want := state.Changes[string, dnssec.Keyset]{Put: []dnssec.Keyset{storetest.KeysetOf("new.", 2)}, Deleted: []string{"gone."}}
	if told.Full || !cmp.Equal(state.Keysets.In(told), want) {
		t.Errorf("told %+v, want %+v", told, want)
	}
}

func TestOneOfManyKeysetsWins(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	if _, err := c.Keyset(ctx, "z."); !errors.Is(err, ErrNotFound) {
		t.Errorf("before the first: %v", err)
	}
	for serial := range uint64(3) {
		var wg sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wg.Go(func() {
				ks := storetest.KeysetOf("z.", serial+1)
				ks.ZSKs[0].Sealed = fmt.Append(nil, i)
				errs[i] = c.PutKeyset(ctx, ks)
			})
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won >= 0:
				t.Errorf("both %d and %d won", won, i)
			case err == nil:
				won = i
			case !errors.Is(err, ErrKeysetChanged):
				t.Error(err)
			}
		}
		got, err := c.Keyset(ctx, "z.")
		if err != nil || won < 0 || string(got.ZSKs[0].Sealed) != fmt.Sprint(won) {
			t.Fatalf("%d won, the store holds %+v (%v)", won, got, err)
		}
	}
	for _, serial := range []uint64{0, 2, 4} {
		if err := c.DeleteKeyset(ctx, "z.", serial); !errors.Is(err, ErrKeysetChanged) {
			t.Errorf("deleting serial %d: %v", serial, err)
		}
	}
	if err := c.PutKeyset(ctx, storetest.KeysetOf("z.", 5)); !errors.Is(err, ErrKeysetChanged) {
		t.Errorf("a serial was left out: %v", err)
	}
	if err := c.PutKeyset(ctx, dnssec.Keyset{Zone: "z."}); err == nil {
		t.Error("a keyset without a serial was written")
	}
	if err := c.DeleteKeyset(ctx, "z.", 3); err != nil {
		t.Error(err)
	}
}
