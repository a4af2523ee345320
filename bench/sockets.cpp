// What live streams cost a server at least: 500 connections of loopback TCP, 12.5 messages a second of each and a short
// answer to every one, nothing done about them. Processor time of the answering process for a second of one stream.
#include <errno.h>
#include <linux/io_uring.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vector>

namespace {
constexpr int STREAMS = 500, MESSAGE = 7688, ANSWER = 80;  // bytes: 80 ms of /v1/stream, and what `vad` tells of them
constexpr double RATE = 12.5, SECONDS = 6, TOGETHER = 0.004;
constexpr int BUFFERS = 1024, BUFFER = 8192;

[[noreturn]] void fail(const char* what) {
    perror(what);
    exit(1);
}

int must(int result, const char* what) {
    if (result < 0) fail(what);
    return result;
}

double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

double busy() {
    rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1e-6 * (used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

// The clients: every stream at real time, evenly apart, answers read as they come. `out` hears when it has ended.
void speak(const std::vector<int>& sockets, int out) {
    const int poll = must(epoll_create1(0), "epoll");
    for (const int each : sockets) {
        epoll_event wanted{.events = EPOLLIN, .data = {.fd = each}};
        must(epoll_ctl(poll, EPOLL_CTL_ADD, each, &wanted), "epoll_ctl");
    }
    static char message[MESSAGE], answer[65536];
    const double begun = now(), gap = 1 / (RATE * STREAMS);
    for (long number = 0; number * gap < SECONDS; number++) {
        double left;
        while ((left = begun + number * gap - now()) > 0) {
            timespec wait{0, long(1e9 * left)};
            epoll_event ready[64];
            const int count = syscall(SYS_epoll_pwait2, poll, ready, 64, &wait, nullptr, 0);
            for (int i = 0; i < count; i++)
                if (recv(ready[i].data.fd, answer, sizeof answer, 0) <= 0) fail("an answer");
        }
        if (send(sockets[number % STREAMS], message, MESSAGE, 0) != MESSAGE) fail("a message");
    }
    must(write(out, "", 1), "write");
}

struct Load {
    std::vector<int> sockets;  // the server's ends
    int over;                  // readable when the clients have ended
    int engine;                // what a message is passed on to, or -1
};

// The bytes of each stream's newest message that have come; true when it is whole.
struct Messages {
    int come[1 << 16] = {};
    bool whole(int socket, int bytes) {
        come[socket] += bytes;
        if (come[socket] < MESSAGE) return false;
        come[socket] -= MESSAGE;
        return true;
    }
};

// epoll, recv, send. With `together`, answers and what is passed on wait for those of others.
long by_epoll(const Load& load, bool together) {
    static char data[BUFFERS * BUFFER], answer[ANSWER];
    static Messages messages;
    memset(messages.come, 0, sizeof messages.come);
    const int poll = must(epoll_create1(0), "epoll");
    std::vector<int> all = load.sockets;
    all.push_back(load.over);
    for (const int each : all) {
        epoll_event wanted{.events = EPOLLIN, .data = {.fd = each}};
        must(epoll_ctl(poll, EPOLL_CTL_ADD, each, &wanted), "epoll_ctl");
    }
    std::vector<int> due;
    long answered = 0, filled = 0;
    double first = 0;
    while (true) {
        epoll_event ready[512];
        const double left = due.empty() ? 1 : first + TOGETHER - now();
        timespec wait{0, long(1e9 * fmax(0, fmin(0.999, left)))};
        const int count = syscall(SYS_epoll_pwait2, poll, ready, 512, &wait, nullptr, 0);
        for (int i = 0; i < count; i++) {
            const int socket = ready[i].data.fd;
            if (socket == load.over) return close(poll), answered;
            const int bytes = must(recv(socket, data + filled, 65536, 0), "recv");
            if (load.engine >= 0) filled += bytes;
            if (!messages.whole(socket, bytes)) continue;
            if (due.empty()) first = now();
            due.push_back(socket);
        }
        if (due.empty() || (together && now() < first + TOGETHER)) continue;
        for (long sent = 0; load.engine >= 0 && sent < filled;)
            sent += must(write(load.engine, data + sent, filled - sent), "write");
        for (const int socket : due)
            if (send(socket, answer, ANSWER, 0) != ANSWER) fail("send");
        answered += due.size(), filled = 0;
        due.clear();
    }
}

// io_uring: recv into buffers that the kernel chooses, asked for once a stream; answers asked for with the next wait.
class Ring {
  public:
    Ring() {
        io_uring_params asked{};
        asked.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
        asked.cq_entries = 8192;
        ring_ = syscall(SYS_io_uring_setup, 1024, &asked);
        if (ring_ < 0) return;
        char* rings = map(asked.sq_off.array + asked.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
        entries_ = reinterpret_cast<io_uring_sqe*>(map(asked.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES));
        tail_ = at(rings, asked.sq_off.tail), mask_ = *at(rings, asked.sq_off.ring_mask);
        for (unsigned i = 0; i < asked.sq_entries; i++) at(rings, asked.sq_off.array)[i] = i;
        done_head_ = at(rings, asked.cq_off.head), done_tail_ = at(rings, asked.cq_off.tail);
        done_mask_ = *at(rings, asked.cq_off.ring_mask);
        done_ = reinterpret_cast<io_uring_cqe*>(rings + asked.cq_off.cqes);
        buffers_ = static_cast<io_uring_buf*>(
            mmap(nullptr, BUFFERS * sizeof(io_uring_buf), PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0));
        io_uring_buf_reg registered{};
        registered.ring_addr = reinterpret_cast<uint64_t>(buffers_), registered.ring_entries = BUFFERS;
        must(syscall(SYS_io_uring_register, ring_, IORING_REGISTER_PBUF_RING, &registered, 1), "buffers");
        for (int i = 0; i < BUFFERS; i++) give_back(i);
    }
    ~Ring() {
        if (ring_ >= 0) close(ring_);
    }
    bool works() const { return ring_ >= 0; }
    // Asked by the next `wait`.
    io_uring_sqe& ask(int code, int socket, uint64_t name) {
        if (asked_ > mask_) wait(0, 0);
        io_uring_sqe& entry = entries_[*tail_ & mask_];
        memset(&entry, 0, sizeof entry);
        entry.opcode = code, entry.fd = socket, entry.user_data = name;
        __atomic_store_n(tail_, *tail_ + 1, __ATOMIC_RELEASE);
        asked_++;
        return entry;
    }
    void hear(int socket) {
        io_uring_sqe& entry = ask(IORING_OP_RECV, socket, socket);
        entry.ioprio = IORING_RECV_MULTISHOT, entry.flags = IOSQE_BUFFER_SELECT;
    }
    // Until so many have been done, or seconds have passed.
    void wait(unsigned count, double seconds) {
        __kernel_timespec limit{0, long(1e9 * fmax(0, fmin(0.999, seconds)))};
        io_uring_getevents_arg more{};
        more.ts = reinterpret_cast<uint64_t>(&limit);
        const unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
        if (syscall(SYS_io_uring_enter, ring_, asked_, count, flags, &more, sizeof more) < 0 && errno != ETIME)
            fail("enter");
        asked_ = 0;
    }
    template <class Take> void take(Take each) {
        const unsigned end = __atomic_load_n(done_tail_, __ATOMIC_ACQUIRE);
        unsigned at = *done_head_;
        for (; at != end; at++) each(done_[at & done_mask_]);
        __atomic_store_n(done_head_, at, __ATOMIC_RELEASE);
    }
    char* at(int buffer) { return data_ + long(buffer) * BUFFER; }
    void give_back(int buffer) {
        io_uring_buf& free = buffers_[free_ & (BUFFERS - 1)];
        free.addr = reinterpret_cast<uint64_t>(at(buffer)), free.len = BUFFER, free.bid = buffer;
        __atomic_store_n(&buffers_->resv, ++free_, __ATOMIC_RELEASE);  // the ring's tail lies there
    }

  private:
    static unsigned* at(char* ring, unsigned offset) { return reinterpret_cast<unsigned*>(ring + offset); }
    char* map(size_t bytes, off_t what) {
        void* place = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_, what);
        if (place == MAP_FAILED) fail("mmap");
        return static_cast<char*>(place);
    }
    int ring_;
    io_uring_sqe* entries_;
    io_uring_cqe* done_;
    io_uring_buf* buffers_;
    unsigned *tail_, *done_head_, *done_tail_, mask_, done_mask_, asked_ = 0;
    uint16_t free_ = 0;
    static inline char data_[long(BUFFERS) * BUFFER];
};

void pass_on(int engine, std::vector<iovec>& parts) {
    for (size_t at = 0; at < parts.size();) {
        size_t sent = must(writev(engine, &parts[at], parts.size() - at < 512 ? parts.size() - at : 512), "writev");
        for (; at < parts.size() && sent >= parts[at].iov_len; at++) sent -= parts[at].iov_len;
        if (sent) parts[at].iov_base = static_cast<char*>(parts[at].iov_base) + sent, parts[at].iov_len -= sent;
    }
}

long by_ring(const Load& load, bool together) {
    static char answer[ANSWER];
    static Messages messages;
    memset(messages.come, 0, sizeof messages.come);
    Ring ring;
    if (!ring.works()) return -1;
    for (const int each : load.sockets) ring.hear(each);
    ring.ask(IORING_OP_POLL_ADD, load.over, 1 << 20).poll32_events = 1;
    long answered = 0;
    for (bool over = false; !over;) {
        ring.wait(together ? 2 * int(RATE * STREAMS * TOGETHER) : 1, together ? TOGETHER : 1);
        std::vector<int> due, taken;
        std::vector<iovec> heard;
        ring.take([&](const io_uring_cqe& done) {
            if (done.user_data == 1 << 20) over = true;
            if (done.user_data >= 1 << 20) return;
            const int socket = done.user_data;
            if (!(done.flags & IORING_CQE_F_MORE)) ring.hear(socket);
            if (done.res <= 0) return;
            const int buffer = done.flags >> IORING_CQE_BUFFER_SHIFT;
            heard.push_back({ring.at(buffer), size_t(done.res)}), taken.push_back(buffer);
            if (messages.whole(socket, done.res)) due.push_back(socket);
        });
        if (load.engine >= 0) pass_on(load.engine, heard);
        for (const int buffer : taken) ring.give_back(buffer);
        for (const int socket : due) {
            io_uring_sqe& entry = ring.ask(IORING_OP_SEND, socket, 2 << 20);
            entry.addr = reinterpret_cast<uint64_t>(answer), entry.len = ANSWER, entry.flags = IOSQE_CQE_SKIP_SUCCESS;
        }
        answered += due.size();
    }
    return answered;
}

template <class Serve> void measure(const char* how, bool passes_on, Serve serve) {
    const int listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    sockaddr_in place{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t size = sizeof place;
    must(bind(listener, reinterpret_cast<sockaddr*>(&place), size), "bind");
    must(listen(listener, STREAMS), "listen");
    must(getsockname(listener, reinterpret_cast<sockaddr*>(&place), &size), "getsockname");
    int over[2], line[2];
    must(pipe(over), "pipe");
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, line), "socketpair");
    std::vector<int> clients;
    Load load{{}, over[0], passes_on ? line[0] : -1};
    for (int i = 0; i < STREAMS; i++) {
        const int client = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
        must(connect(client, reinterpret_cast<sockaddr*>(&place), size), "connect");
        const int server = must(accept(listener, nullptr, nullptr), "accept");
        for (const int each : {client, server}) {
            const int on = 1;
            setsockopt(each, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        clients.push_back(client), load.sockets.push_back(server);
    }
    const int engine = must(fork(), "fork");
    if (!engine) {
        static char data[1 << 20];
        close(line[0]);
        while (read(line[1], data, sizeof data) > 0) {
        }
        _exit(0);
    }
    const int crowd = must(fork(), "fork");
    if (!crowd) {
        speak(clients, over[1]);
        _exit(0);
    }
    close(line[1]);
    const double begun = busy();
    const long answered = serve(load);
    const double cost = busy() - begun;
    if (answered < 0)
        printf("%-48s not let by this kernel\n", how);
    else
        printf("%-48s %6.3f ms, %5.2f us a message\n", how, 1000 * cost * RATE / answered, 1e6 * cost / answered);
    fflush(stdout);
    kill(crowd, SIGKILL);
    for (const int each : {line[0], over[0], over[1], listener}) close(each);
    for (const int each : clients) close(each);
    for (const int each : load.sockets) close(each);
    waitpid(crowd, nullptr, 0);
    kill(engine, SIGKILL);
    waitpid(engine, nullptr, 0);
}
}  // namespace

int main() {
    measure("epoll, recv, send", false, [](const Load& load) { return by_epoll(load, false); });
    measure("the same, answers 4 ms together", false, [](const Load& load) { return by_epoll(load, true); });
    measure("and each message passed on to a process", true, [](const Load& load) { return by_epoll(load, true); });
    measure("io_uring", false, [](const Load& load) { return by_ring(load, false); });
    measure("the same, 4 ms together", false, [](const Load& load) { return by_ring(load, true); });
    measure("and each message passed on to a process", true, [](const Load& load) { return by_ring(load, true); });
}
