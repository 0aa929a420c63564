package lab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
)

// link is the impaired link of a host: a TAP in the host's namespace and a
// connection to the stream port of the switch, with a wire in each direction. The
// switch knows nothing of it.
type link struct {
	tap    *port.TAP
	stream *port.Stream

	receive, transmit *wire // of the switch
	until             time.Time
	cancel            context.CancelFunc
	receiving         sync.WaitGroup
	delivering        sync.WaitGroup
}

// streamPort is the port of the switch for an impaired link: what is not the
// link's own is that of the host.
func streamPort(p config.Port, socket string) config.Port {
	p.Kind, p.Listen = config.KindStream, socket
	p.Ifname, p.Netns, p.MAC, p.TxQLen, p.Up, p.IP, p.Offload, p.Coalesce = "", "", nil, 0, nil, nil, nil, nil
	return p
}

// openLink makes the link of a host, whose namespace p names, to the port of the
// switch that listens at the socket. It returns once they are connected.
func openLink(ctx context.Context, p config.Port, m config.Impair, socket string) (l *link, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("host %s: impaired link: %w", p.Name, err)
		}
	}()
	r := p.Resolved()
	l = &link{}
	l.tap, err = port.OpenTAP(port.TAPConfig{
		Ifname: r.Ifname, Netns: r.Netns, MAC: r.MAC, MTU: r.MTU, TxQLen: r.TxQLen, Up: *r.Up, IP: r.IP, Owner: -1, Group: -1,
	})
	if err != nil {
		return nil, err
	}
	// Frames come whole and with their checksums, as they are on a wire.
	if err := l.tap.SetOffload(false); err != nil {
		return nil, errors.Join(err, l.tap.Close())
	}
	if l.stream, err = port.OpenStream(port.StreamConfig{Dial: socket, MTU: r.MTU}); err != nil {
		return nil, errors.Join(err, l.tap.Close())
	}
	connected := make(chan struct{})
	var once sync.Once
	l.stream.Start(func(state port.Link) {
		if state.Up {
			once.Do(func() { close(connected) })
		}
	})
	select {
	case <-connected:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), l.stream.Close(), l.tap.Close())
	}
	l.run(p.Name, m)
	return l, nil
}

func (l *link) run(host string, m config.Impair) {
	if m.For > 0 {
		l.until = time.Now().Add(time.Duration(m.For))
	}
	l.receive = newWire(l.tap, l.stream, newDice(m, host+" receive"), l.until)
	l.transmit = newWire(l.stream, l.tap, newDice(m, host+" transmit"), l.until)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for _, w := range []*wire{l.receive, l.transmit} {
		l.receiving.Go(w.receive)
		l.delivering.Go(func() { w.deliver(ctx) })
	}
}

// close ends the link. What is on its wires is lost.
func (l *link) close() error {
	l.cancel()
	l.delivering.Wait() // Nothing may transmit by a port that is closed.
	err := errors.Join(l.tap.Close(), l.stream.Close())
	l.receiving.Wait()
	return err
}
