/*
 * Load on a disk at a vhost-user socket, as of vhost-load.ts, at a tenth of its cost:
 *
 *   vhost-load SOCKET PID DEPTH SECONDS read|write [MEMORY random|hot|scattered|sequential]
 *   vhost-load --copies BYTES SECONDS
 *
 * Blocks of 4 KiB at random places, DEPTH under way at once; a write is followed by a flush, and
 * counts when that is answered. Sleeps on the event until there are answers. Prints one line of
 * JSON, with the processor time that the process PID has used for each answer.
 *
 * With MEMORY the data lies in so many bytes, each time at another page: at any, nine in ten times
 * in the first fifth or in a fifth that is spread over all in pieces of 64 KiB, or at the one that
 * follows.
 *
 * With --copies nobody is asked: blocks at random places of so many bytes are copied to as many
 * places as are under way at most. No disk in memory can take less time for a read.
 *
 * Structures and numbers: the vhost-user protocol and VIRTIO 1.2, sections 2.7 and 5.2.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
  BLOCK_BYTES = 4096,
  SECTORS_PER_BLOCK = 8,
  ENTRIES = 128,
  LANES_MAX = 32,
  /* A header, the data and a status each. */
  CHAIN = 3,
  HOT_PIECE_PAGES = 16,
  SAMPLES_MAX = 8000000,
};

static const double RAMP_SECONDS = 0.3;
static const uint64_t GUEST_ADDRESS = 1u << 30;

enum request {
  GET_FEATURES = 1,
  SET_FEATURES = 2,
  SET_OWNER = 3,
  SET_MEM_TABLE = 5,
  SET_VRING_NUM = 8,
  SET_VRING_ADDR = 9,
  SET_VRING_BASE = 10,
  GET_VRING_BASE = 11,
  SET_VRING_KICK = 12,
  SET_VRING_CALL = 13,
  GET_PROTOCOL_FEATURES = 15,
  SET_PROTOCOL_FEATURES = 16,
  SET_VRING_ENABLE = 18,
  GET_CONFIG = 24,
};

/* VERSION_1, PROTOCOL_FEATURES, EVENT_IDX, FLUSH; of the protocol CONFIG. */
static const uint64_t FEATURES = 1ull << 32 | 1ull << 30 | 1ull << 29 | 1ull << 9;
static const uint64_t PROTOCOL_FEATURES = 1ull << 9;

struct message {
  uint32_t request, flags, size;
  uint8_t body[512];
} __attribute__((packed));

struct descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags, next;
};

enum { HAS_NEXT = 1, DEVICE_WRITES = 2 };
enum block_request { READ = 0, WRITE = 1, FLUSH = 4 };

struct request_header {
  uint32_t type, reserved;
  uint64_t sector;
};

struct available_ring {
  uint16_t flags;
  _Atomic uint16_t index;
  uint16_t entries[ENTRIES];
  _Atomic uint16_t used_event;
};

struct used_ring {
  uint16_t flags;
  _Atomic uint16_t index;
  struct {
    uint32_t head, length;
  } entries[ENTRIES];
  _Atomic uint16_t available_event;
};

struct guest_memory {
  struct descriptor descriptors[ENTRIES];
  _Alignas(4096) struct available_ring available;
  _Alignas(4096) struct used_ring used;
  _Alignas(4096) struct {
    struct request_header header;
    uint8_t status;
  } requests[LANES_MAX];
  _Alignas(4096) uint8_t data[][BLOCK_BYTES];
};

static int connection, kick, call;
static struct guest_memory *guest;
static uint64_t block_count, random_state;
static uint16_t told_index, seen_index;
static int is_write, is_flushing[LANES_MAX], ready[LANES_MAX], ready_count, under_way;
static uint64_t started_ns[LANES_MAX];
static uint32_t *latencies_ns;
static size_t answers, requests;

static enum { OF_LANE, RANDOM, HOT, SCATTERED, SEQUENTIAL } places;
static size_t page_count = LANES_MAX, page_of[LANES_MAX], next_page;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* Of all threads of a process. */
static uint64_t cpu_ns(const char *pid) {
  char folder[64], path[400];
  snprintf(folder, sizeof folder, "/proc/%.20s/task", pid);
  DIR *threads = opendir(folder);
  if (threads == NULL) fail(folder);
  uint64_t total = 0;
  for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
    if (thread->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s/schedstat", folder, thread->d_name);
    FILE *file = fopen(path, "r");
    unsigned long long ns;
    if (file == NULL) continue; /* It has just ended. */
    if (fscanf(file, "%llu", &ns) == 1) total += ns;
    fclose(file);
  }
  closedir(threads);
  return total;
}

static void send_message(enum request request, const void *body, uint32_t size, int file) {
  struct message message = {.request = request, .flags = 1, .size = size};
  if (size > 0) memcpy(message.body, body, size);
  struct iovec bytes = {&message, 12 + size};
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
  if (file >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &file, sizeof file);
  }
  if (sendmsg(connection, &header, MSG_NOSIGNAL) != (ssize_t)(12 + size)) fail("sendmsg");
}

static void receive(void *to, size_t size) {
  if (recv(connection, to, size, MSG_WAITALL) != (ssize_t)size) fail("recv");
}

static struct message ask(enum request request, const void *body, uint32_t size) {
  send_message(request, body, size, -1);
  struct message answer;
  receive(&answer, 12);
  if (answer.size > sizeof answer.body) fail("a long answer");
  receive(answer.body, answer.size);
  return answer;
}

static uint64_t ask_number(enum request request) {
  struct message answer = ask(request, NULL, 0);
  uint64_t number;
  memcpy(&number, answer.body, sizeof number);
  return number;
}

static uint64_t at(const void *place) {
  return GUEST_ADDRESS + ((const uint8_t *)place - (const uint8_t *)guest);
}

static void share_memory(void) {
  size_t size = sizeof *guest + page_count * BLOCK_BYTES;
  int file = memfd_create("load", MFD_ALLOW_SEALING);
  if (file < 0 || ftruncate(file, size) != 0) fail("memfd");
  /* What might shrink under a back end that maps it may be refused. */
  if (fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK) != 0) fail("seal");
  guest = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
  if (guest == MAP_FAILED) fail("mmap");
  struct {
    uint32_t count, padding;
    uint64_t guest_address, size, user_address, offset;
  } table = {1, 0, GUEST_ADDRESS, size, (uint64_t)guest, 0};
  send_message(SET_MEM_TABLE, &table, sizeof table, file);
}

static void start_ring(void) {
  struct {
    uint32_t index, number;
  } state = {0, ENTRIES};
  struct {
    uint32_t index, flags;
    uint64_t descriptors, used, available, log;
  } addresses = {0, 0, (uint64_t)guest->descriptors, (uint64_t)&guest->used,
                 (uint64_t)&guest->available, 0};
  uint64_t ring = 0;
  kick = eventfd(0, 0);
  call = eventfd(0, 0);
  send_message(SET_VRING_NUM, &state, sizeof state, -1);
  state.number = 0;
  send_message(SET_VRING_BASE, &state, sizeof state, -1);
  send_message(SET_VRING_ADDR, &addresses, sizeof addresses, -1);
  send_message(SET_VRING_CALL, &ring, sizeof ring, call);
  send_message(SET_VRING_KICK, &ring, sizeof ring, kick);
  state.number = 1;
  send_message(SET_VRING_ENABLE, &state, sizeof state, -1);
}

static void begin(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  connection = socket(AF_UNIX, SOCK_STREAM, 0);
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) fail(path);
  uint64_t features = ask_number(GET_FEATURES) & FEATURES;
  uint64_t protocol = ask_number(GET_PROTOCOL_FEATURES) & PROTOCOL_FEATURES;
  send_message(SET_PROTOCOL_FEATURES, &protocol, sizeof protocol, -1);
  send_message(SET_OWNER, NULL, 0, -1);
  send_message(SET_FEATURES, &features, sizeof features, -1);
  struct {
    uint32_t offset, size, flags;
    uint8_t bytes[60];
  } config = {0, 60, 0, {0}};
  struct message answer = ask(GET_CONFIG, &config, sizeof config);
  uint64_t sectors;
  memcpy(&sectors, answer.body + 12, sizeof sectors);
  block_count = sectors / SECTORS_PER_BLOCK;
  share_memory();
  start_ring();
}

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* Where a lane's next data lies. */
static size_t choose_page(int lane) {
  switch (places) {
    case OF_LANE:
      return lane;
    case SEQUENTIAL:
      return next_page++ % page_count;
    default:
      if (places == RANDOM || next_random() % 10 == 0) return next_random() % page_count;
      if (places == HOT) return next_random() % (page_count / 5);
      size_t piece = next_random() % (page_count / HOT_PIECE_PAGES / 5) * 5;
      return piece * HOT_PIECE_PAGES + next_random() % HOT_PIECE_PAGES;
  }
}

static void offer(int lane, enum block_request type, uint64_t sector) {
  int head = lane * CHAIN;
  struct descriptor *chain = &guest->descriptors[head];
  struct request_header *header = &guest->requests[lane].header;
  uint8_t *status = &guest->requests[lane].status;
  *header = (struct request_header){type, 0, sector};
  *status = 0xff;
  int has_data = type != FLUSH;
  uint16_t rights = type == READ ? DEVICE_WRITES : 0;
  chain[0] = (struct descriptor){at(header), sizeof *header, HAS_NEXT, head + (has_data ? 1 : 2)};
  chain[1] = (struct descriptor){at(guest->data[page_of[lane]]), BLOCK_BYTES, HAS_NEXT | rights, head + 2};
  chain[2] = (struct descriptor){at(status), 1, DEVICE_WRITES, 0};
  uint16_t index = atomic_load_explicit(&guest->available.index, memory_order_relaxed);
  guest->available.entries[index % ENTRIES] = head;
  atomic_store_explicit(&guest->available.index, index + 1, memory_order_release);
}

static void start(int lane) {
  started_ns[lane] = now_ns();
  /* No two blocks alike: a store that knows a content would have it easy. */
  page_of[lane] = choose_page(lane);
  uint64_t *words = (uint64_t *)guest->data[page_of[lane]];
  if (is_write)
    for (int word = 0; word < 2; word++) words[word] = next_random();
  is_flushing[lane] = 0;
  under_way++;
  offer(lane, is_write ? WRITE : READ, next_random() % block_count * SECTORS_PER_BLOCK);
}

static void answered(int lane) {
  if (guest->requests[lane].status != 0) {
    fprintf(stderr, "status %d\n", guest->requests[lane].status);
    exit(1);
  }
  if (is_write && !is_flushing[lane]) {
    is_flushing[lane] = 1;
    offer(lane, FLUSH, 0);
    return;
  }
  if (answers < SAMPLES_MAX) latencies_ns[answers] = now_ns() - started_ns[lane];
  answers++;
  requests++;
  under_way--;
  ready[ready_count++] = lane;
}

/* The other side says from which request on it wants to be told. */
static void tell(void) {
  atomic_thread_fence(memory_order_seq_cst);
  uint16_t index = guest->available.index;
  uint16_t event = guest->used.available_event;
  int is_wanted = (uint16_t)(index - event - 1) < (uint16_t)(index - told_index);
  told_index = index;
  uint64_t one = 1;
  if (is_wanted && write(kick, &one, sizeof one) != sizeof one) fail("kick");
}

static void wait_for_answers(void) {
  for (;;) {
    atomic_store(&guest->available.used_event, seen_index);
    if (atomic_load(&guest->used.index) != seen_index) return;
    /* It is the other side's, too, which may have chosen that reading it never waits. */
    struct pollfd wanted = {call, POLLIN, 0};
    if (poll(&wanted, 1, -1) != 1) fail("poll");
    uint64_t count;
    if (read(call, &count, sizeof count) != sizeof count && errno != EAGAIN) fail("call");
  }
}

static void turn(int is_over) {
  if (!is_over)
    while (ready_count > 0) start(ready[--ready_count]);
  if (under_way == 0) return;
  tell();
  wait_for_answers();
  uint16_t index = atomic_load_explicit(&guest->used.index, memory_order_acquire);
  for (; seen_index != index; seen_index++)
    answered(guest->used.entries[seen_index % ENTRIES].head / CHAIN);
}

static void run_for(double seconds) {
  uint64_t end_ns = now_ns() + (uint64_t)(seconds * 1e9);
  while (now_ns() < end_ns) turn(0);
}

static int by_size(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static double quantile_us(size_t count, double part) {
  return latencies_ns[(size_t)(part * (count - 1))] / 1e3;
}

static uint64_t own_cpu_ns(void) {
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

/* Prints the microseconds of processor time that a copy takes. */
static int copy_only(size_t bytes, double seconds) {
  enum { AT_ONCE = 1024 };
  static uint8_t into[LANES_MAX][BLOCK_BYTES];
  uint64_t blocks = bytes / BLOCK_BYTES, copied = 0;
  uint8_t *from = malloc(bytes);
  if (blocks == 0 || from == NULL) {
    fprintf(stderr, "no memory of %zu bytes\n", bytes);
    return 2;
  }
  for (size_t i = 0; i + sizeof(uint64_t) <= bytes; i += sizeof(uint64_t))
    *(uint64_t *)(from + i) = next_random();
  uint64_t cpu_before = own_cpu_ns(), end = now_ns() + (uint64_t)(seconds * 1e9);
  for (; now_ns() < end; copied += AT_ONCE)
    for (int i = 0; i < AT_ONCE; i++)
      memcpy(into[i % LANES_MAX], from + next_random() % blocks * BLOCK_BYTES, BLOCK_BYTES);
  /* What nobody reads need not be copied. */
  uint8_t seen = 0;
  for (int lane = 0; lane < LANES_MAX; lane++) seen ^= into[lane][copied % BLOCK_BYTES];
  printf("{\"copyUs\":%.4f,\"seen\":%d}\n", (own_cpu_ns() - cpu_before) / 1e3 / copied, seen);
  return 0;
}

static int spread(const char *bytes, const char *how) {
  page_count = strtoull(bytes, NULL, 10) / BLOCK_BYTES;
  if (strcmp(how, "random") == 0) places = RANDOM;
  if (strcmp(how, "hot") == 0) places = HOT;
  if (strcmp(how, "scattered") == 0) places = SCATTERED;
  if (strcmp(how, "sequential") == 0) places = SEQUENTIAL;
  return places != OF_LANE && page_count >= 256;
}

int main(int count, char **words) {
  random_state = now_ns() | 1;
  if (count == 4 && strcmp(words[1], "--copies") == 0)
    return copy_only(strtoull(words[2], NULL, 10), atof(words[3]));
  if (count != 6 && count != 8) {
    fprintf(stderr, "usage: vhost-load SOCKET PID DEPTH SECONDS read|write "
                    "[MEMORY random|hot|scattered|sequential]\n"
                    "       vhost-load --copies BYTES SECONDS\n");
    return 2;
  }
  const char *pid = words[2];
  int depth = atoi(words[3]);
  if (depth < 1 || depth > LANES_MAX) {
    fprintf(stderr, "a depth of 1 to %d\n", LANES_MAX);
    return 2;
  }
  is_write = strcmp(words[5], "write") == 0;
  if (count == 8 && !spread(words[6], words[7])) {
    fprintf(stderr, "MEMORY is 1M or more bytes, PLACES are one of those words\n");
    return 2;
  }
  latencies_ns = malloc(SAMPLES_MAX * sizeof *latencies_ns);
  begin(words[1]);
  if (is_write)
    for (size_t i = 0; i < page_count * BLOCK_BYTES; i += sizeof(uint64_t))
      *(uint64_t *)((uint8_t *)guest->data + i) = next_random();
  for (int lane = 0; lane < depth; lane++) ready[ready_count++] = lane;
  run_for(RAMP_SECONDS);
  answers = 0;
  uint64_t cpu_before = cpu_ns(pid), from = now_ns();
  run_for(atof(words[4]));
  double seconds = (now_ns() - from) / 1e9;
  size_t done = answers;
  double cpu_us = (cpu_ns(pid) - cpu_before) / 1e3 / done;
  while (under_way > 0) turn(1);
  size_t samples = done < SAMPLES_MAX ? done : SAMPLES_MAX;
  qsort(latencies_ns, samples, sizeof *latencies_ns, by_size);
  printf("{\"iops\":%.1f,\"cpuUs\":%.3f,\"p50Us\":%.2f,\"p99Us\":%.2f,\"p999Us\":%.2f,"
         "\"requests\":%zu}\n",
         done / seconds, cpu_us, quantile_us(samples, 0.5), quantile_us(samples, 0.99),
         quantile_us(samples, 0.999), requests);
  struct {
    uint32_t index, number;
  } state = {0, 0};
  ask(GET_VRING_BASE, &state, sizeof state);
  return 0;
}
