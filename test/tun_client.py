#!/usr/bin/env python3
"""A station on a TAP of its own making, by nothing but Python:

    tun_client.py IFNAME MAC IP

makes a persistent TAP and lets go of it, for a switch to take it up, and answers
ARP requests and pings on its link until it is killed."""
import ctypes, errno, os, socket, struct, sys
from stream_client import answer

# linux/if_tun.h, linux/if_ether.h, linux/sockios.h, linux/if_arp.h
TUNSETIFF, TUNSETPERSIST, IFF_TAP, IFF_NO_PI = 0x400454ca, 0x400454cb, 0x0002, 0x1000
ETH_P_ALL, SIOCSIFHWADDR, ARPHRD_ETHER = 0x0003, 0x8924, 1

libc = ctypes.CDLL(None, use_errno=True)


def ioctl(fd, request, argument):
    if libc.ioctl(fd, ctypes.c_ulong(request), argument) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


name, mac, ip = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", "")), socket.inet_aton(sys.argv[3])
tun = os.open("/dev/net/tun", os.O_RDWR)
ioctl(tun, TUNSETIFF, ctypes.create_string_buffer(struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI), 40))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
s.bind((name, ETH_P_ALL))
ioctl(s.fileno(), SIOCSIFHWADDR, ctypes.create_string_buffer(struct.pack("16sH6s16x", name.encode(), ARPHRD_ETHER, mac), 40))
ioctl(tun, TUNSETPERSIST, ctypes.c_ulong(1))
os.close(tun)
while True:
    try:
        f = answer(bytearray(s.recv(1 << 17)), mac, ip)
    except OSError as e:
        if e.errno != errno.ENETDOWN:  # the switch has yet to take it up
            raise
        continue
    if f:
        s.send(f)
