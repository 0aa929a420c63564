package vm

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// echoPort is where every station sends back what it gets (RFC 862).
const echoPort = 7

// echo answers by TCP and UDP on the addresses of the caller's namespace until
// stop is called.
func echo() (stop func(), err error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: echoPort})
	if err != nil {
		return nil, err
	}
	u, err := net.ListenUDP("udp4", &net.UDPAddr{Port: echoPort})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // stop was called.
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // The other end looks at what comes back.
			}()
		}
	}()
	go func() {
		for b := make([]byte, 1<<16); ; {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return // stop was called.
			}
			_, _ = u.WriteTo(b[:n], from) // The other end waits for it.
		}
	}()
	return func() { _, _ = l.Close(), u.Close() }, nil
}

// exchange sends n random bytes by TCP while it receives them again, and
// compares what went and what came by their SHA-256: ADDRESS BYTES.
func exchange(args []string) (string, error) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return "", err
	}
	conn, err := net.DialTimeout("tcp4", fmt.Sprint(args[0], ":", echoPort), patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	// The test gives up a little later than the guest, which then says why.
	if err := conn.SetDeadline(time.Now().Add(patience - time.Second)); err != nil {
		return "", err
	}
	out, in := sha256.New(), sha256.New()
	wrote := make(chan error, 1)
	go func() { wrote <- send(conn.(*net.TCPConn), out, n) }()
	received, err := io.Copy(in, conn)
	if err = errors.Join(err, <-wrote); err != nil {
		return "", fmt.Errorf("%d of %d bytes are back: %w", received, n, err)
	}
	if want, have := out.Sum(nil), in.Sum(nil); string(want) != string(have) {
		return "", fmt.Errorf("sent %d bytes with SHA-256 %x, %d with %x came back", n, want, received, have)
	}
	return "", nil
}

// send writes n random bytes and says that there are no more.
func send(conn *net.TCPConn, sum hash.Hash, n int64) error {
	random := rand.NewChaCha8([32]byte{byte(rand.Int())})
	_, err := io.CopyN(io.MultiWriter(conn, sum), random, n)
	return errors.Join(err, conn.CloseWrite())
}

// datagrams sends UDP datagrams of several sizes, up to the MTU's, each of which
// must come back as it was: ADDRESS MTU.
func datagrams(args []string) (string, error) {
	mtu, err := strconv.Atoi(args[1])
	if err != nil {
		return "", err
	}
	conn, err := net.Dial("udp4", fmt.Sprint(args[0], ":", echoPort))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	random := rand.NewChaCha8([32]byte{byte(rand.Int())})
	for _, size := range []int{1, 2, 63, 512, mtu - 29, mtu - 28} {
		sent, got := make([]byte, size), make([]byte, mtu)
		_, _ = random.Read(sent) // Never fails.
		_, writeErr := conn.Write(sent)
		err := errors.Join(writeErr, conn.SetReadDeadline(time.Now().Add(patience/2)))
		if err != nil {
			return "", err
		}
		n, err := conn.Read(got)
		if err != nil {
			return "", fmt.Errorf("a datagram of %d bytes: %w", size, err)
		}
		if string(got[:n]) != string(sent) {
			return "", fmt.Errorf("a datagram of %d bytes: %x came back, want %x", size, got[:n], sent)
		}
	}
	return "", nil
}
