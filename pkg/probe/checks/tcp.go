package checks

import "context"

// runTCP passes once there is a connection.
func runTCP(ctx context.Context, a *attempt) error {
	conn, err := a.dial(ctx, "tcp")
	if err != nil {
		return err
	}
	return conn.Close()
}
