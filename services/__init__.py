"""The five services of Kehu; they speak to each other only through topics."""
