//go:build interop

package rig

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/pkg/store"
)

const members = 3

// startMembers starts an etcd cluster, as docs/operating.md asks for it, and waits until it serves. Snapshots are
// frequent, so that a member that comes back is sent one rather than the log.
func (r *Rig) startMembers() {
	r.T.Helper()
	var peers []string
	for i := range members {
		peers = append(peers, fmt.Sprintf("m%d=http://10.77.1.%d:2380", i+1, i+1))
	}
	r.cluster = strings.Join(peers, ",")
	for i := range members {
		name, ip := fmt.Sprintf("m%d", i+1), fmt.Sprintf("10.77.1.%d", i+1)
		n := r.newNode(name, netip.MustParseAddr(ip), netip.Addr{}, Bin("etcd"), "--name", name, "--data-dir", r.path(name),
			"--listen-client-urls", "http://"+ip+":2379,http://127.0.0.1:2379", "--advertise-client-urls", "http://"+ip+":2379",
			"--listen-peer-urls", "http://"+ip+":2380", "--initial-advertise-peer-urls", "http://"+ip+":2380",
			"--initial-cluster", r.cluster, "--max-txn-ops=8192", "--max-request-bytes=33554432",
			"--snapshot-count=500", "--log-level=error")
		r.Members = append(r.Members, n)
		r.etcd = append(r.etcd, "http://"+ip+":2379")
		n.Start()
	}
	r.Etcd = r.etcdClient()
	r.WaitMembers()
}

// WaitMembers waits until the cluster has a quorum.
func (r *Rig) WaitMembers() {
	r.T.Helper()
	Eventually(r.T, startTimeout, "etcd serves", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := r.Etcd.Get(ctx, "any")
		return err
	})
}

func (r *Rig) etcdClient() *clientv3.Client {
	r.T.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: r.etcd, DialTimeout: 5 * time.Second,
		DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: 2 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { client.Close() })
	return client
}

// Store opens a client of the rig's store, which goes with the test.
func (r *Rig) Store() *store.Client {
	r.T.Helper()
	client, err := store.Open(context.Background(), store.Config{Endpoints: r.etcd})
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { client.Close() })
	return client
}

// URLs are those of the members.
func (r *Rig) URLs() []string { return r.etcd }

// MemberEnv is how a member is configured, as etcd takes it from its environment.
func (r *Rig) MemberEnv(n *Node) []string {
	return []string{"ETCD_NAME=" + n.Name, "ETCD_DATA_DIR=" + n.Dir, "ETCD_INITIAL_CLUSTER=" + r.cluster,
		"ETCD_INITIAL_ADVERTISE_PEER_URLS=http://" + n.Inside.String() + ":2380"}
}

// Leader gives the member that leads.
func (r *Rig) Leader() *Node {
	r.T.Helper()
	var leader *Node
	Eventually(r.T, startTimeout, "a member leads", func() error {
		for i, n := range r.Members {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			status, err := r.Etcd.Status(ctx, r.etcd[i])
			cancel()
			if err == nil && status.Leader == status.Header.MemberId {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("none does")
	})
	return leader
}

// RestartMembers kills every member, one after the other, and starts it again, so that everyone has to connect anew.
func (r *Rig) RestartMembers() {
	r.T.Helper()
	for i, n := range r.Members {
		n.Kill()
		n.Start()
		Eventually(r.T, startTimeout, n.Name+" is back", func() error {
			client, err := clientv3.New(clientv3.Config{Endpoints: r.etcd[i : i+1], DialTimeout: 2 * time.Second, Logger: zap.NewNop()})
			if err != nil {
				return err
			}
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, err = client.Get(ctx, "any") // which needs a leader
			return err
		})
		n.trouble(false)
	}
}

// Revision gives the store's revision.
func (r *Rig) Revision() int64 {
	r.T.Helper()
	var revision int64
	Eventually(r.T, startTimeout, "etcd tells its revision", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		reply, err := r.Etcd.Get(ctx, "any")
		if err == nil {
			revision = reply.Header.Revision
		}
		return err
	})
	return revision
}

// Put writes keys as they are, below gtm's prefix, in one transaction.
func (r *Rig) Put(pairs ...string) {
	r.T.Helper()
	var ops []clientv3.Op
	for i := 0; i+1 < len(pairs); i += 2 {
		ops = append(ops, clientv3.OpPut(store.DefaultPrefix+pairs[i], pairs[i+1]))
	}
	Eventually(r.T, startTimeout, "etcd takes "+pairs[0], func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := r.Etcd.Txn(ctx).Then(ops...).Commit()
		return err
	})
}

// Age lets revisions go by that nobody follows.
func (r *Rig) Age(revisions int) {
	r.T.Helper()
	var g errgroup.Group
	const writers = 8
	for w := range writers {
		g.Go(func() error {
			for range revisions / writers {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				_, err := r.Etcd.Put(ctx, fmt.Sprintf("%sworld/elsewhere/%d", store.DefaultPrefix, w), "")
				cancel()
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		r.T.Fatal(err)
	}
}

// Get reads a key below gtm's prefix; "" if there is none.
func (r *Rig) Get(key string) string {
	r.T.Helper()
	var value string
	Eventually(r.T, startTimeout, "etcd gives "+key, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		reply, err := r.Etcd.Get(ctx, store.DefaultPrefix+key)
		if err == nil && len(reply.Kvs) > 0 {
			value = string(reply.Kvs[0].Value)
		}
		return err
	})
	return value
}

// Keys lists the keys with a prefix, both below gtm's prefix.
func (r *Rig) Keys(prefix string) []string {
	r.T.Helper()
	var keys []string
	Eventually(r.T, startTimeout, "etcd lists "+prefix, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		reply, err := r.Etcd.Get(ctx, store.DefaultPrefix+prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		keys = nil
		for _, kv := range reply.Kvs {
			keys = append(keys, strings.TrimPrefix(string(kv.Key), store.DefaultPrefix))
		}
		return nil
	})
	return keys
}

// SaveSnapshot saves the store, as an operator does, and gives the file.
func (r *Rig) SaveSnapshot(name string) string {
	r.T.Helper()
	file := r.path(name)
	_ = os.Remove(file)
	r.Run(Bin("etcdctl"), "--endpoints", r.etcd[0], "snapshot", "save", file)
	return file
}

// Restore stops all members, puts a saved store in place of what they have, and starts them. Names and addresses are the same, and so
// cluster and members have the same identities as before: nothing but the content tells that it is another store. With a token,
// the identities are others.
func (r *Rig) Restore(file, token string) {
	r.T.Helper()
	r.StopMembers()
	if token == "" {
		token = "etcd-cluster" // etcd's default
	}
	for _, n := range r.Members {
		r.Wipe(n)
		r.Run(Bin("etcdutl"), "snapshot", "restore", file, "--name", n.Name, "--initial-cluster", r.cluster,
			"--initial-cluster-token", token, "--initial-advertise-peer-urls", "http://"+n.Inside.String()+":2380", "--data-dir", n.Dir)
	}
	r.StartMembers()
}

// Empty puts a new, empty cluster in place of the members' store.
func (r *Rig) Empty() {
	r.T.Helper()
	r.StopMembers()
	for _, n := range r.Members {
		r.Wipe(n)
	}
	r.StartMembers()
}

// StopMembers stops all members, of which some may be stopped already.
func (r *Rig) StopMembers() {
	r.T.Helper()
	for _, n := range r.Members {
		n.Kill()
	}
}

// StartMembers starts all members, and waits until they serve.
func (r *Rig) StartMembers() {
	r.T.Helper()
	for _, n := range r.Members {
		n.Start()
		n.trouble(false)
	}
	r.WaitMembers()
}

// Wipe removes a node's data.
func (r *Rig) Wipe(n *Node) {
	r.T.Helper()
	if err := os.RemoveAll(n.Dir); err != nil {
		r.T.Fatal(err)
	}
}
